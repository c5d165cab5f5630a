//! From which address a request comes, also behind proxies.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::web::Data;
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of the proxies whose word on where a request comes from is taken (`--trusted-proxy`).
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

/// The address of the client, for the log and the limits. `None` where the connection has no address.
///
/// Who comes by IPv4 has an IPv4 address, also where the server listens on IPv6 and it is mapped into that (RFC 4291
/// §2.5.5.2).
#[must_use]
pub fn address(request: &HttpRequest) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    let trusted = request.app_data::<Data<TrustedProxies>>();
    Some(trusted.map_or(peer, |trusted| trusted.client(peer, request.headers())))
}

impl TrustedProxies {
    /// Follows `Forwarded` (RFC 7239) or `X-Forwarded-For` from the nearest proxy outwards, to the first address that
    /// is none of ours. What stands to the left of that, anybody may have written.
    ///
    /// A proxy sets one of the two and may pass the other on unread: where they disagree, neither is believed.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.contains(peer) {
            return peer;
        }
        let follow = |name: HeaderName, hops: fn(&str) -> Vec<Option<IpAddr>>| {
            // A line that is no text says no more than RFC 7239's word for a hop that nobody knows.
            let lines: Vec<_> = headers.get_all(&name).map(|line| line.to_str().unwrap_or("unknown")).collect();
            (!lines.is_empty()).then(|| self.outermost(peer, lines.iter().rev().flat_map(|line| hops(line))))
        };
        match (follow(header::FORWARDED, forwarded), follow(X_FORWARDED_FOR, x_forwarded_for)) {
            (Some(client), None) | (None, Some(client)) => client,
            (Some(one), Some(other)) if one == other => one,
            _ => peer,
        }
    }

    /// The first address on the way out that is no proxy of ours, or the last that could be read.
    fn outermost(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer;
        for hop in hops {
            let Some(address) = hop else { return client };
            client = address;
            if !self.contains(address) {
                return client;
            }
        }
        client
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The hops of a line of `X-Forwarded-For`, the nearest first.
fn x_forwarded_for(line: &str) -> Vec<Option<IpAddr>> {
    line.rsplit(',').map(|hop| node(hop.trim())).collect()
}

/// The hops of a line of `Forwarded`, the nearest first. An empty element is none (RFC 9110 §5.6.1.2).
fn forwarded(line: &str) -> Vec<Option<IpAddr>> {
    let elements = line.rsplit(outside_quotes(',')).map(str::trim);
    elements.filter(|element| !element.is_empty()).map(forwarded_for).collect()
}

/// Finds a sign that is in no quoted string (RFC 9110 §5.6.4), from the right: so it is known how what our own proxies
/// wrote is to be read, whatever quotes stand to the left of it.
fn outside_quotes(sign: char) -> impl FnMut(char) -> bool {
    let (mut quoted, mut may_be_escaped) = (false, false);
    move |c| {
        match c {
            '"' => (quoted, may_be_escaped) = (!quoted, true),
            // An odd number of these before a quote makes it one that ends nothing.
            '\\' if may_be_escaped => quoted = !quoted,
            _ => may_be_escaped = false,
        }
        c == sign && !quoted
    }
}

/// The `for` of one element of `Forwarded` (RFC 7239 §4). `None` where it does not follow the grammar, or has none, or
/// two.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element.rsplit(outside_quotes(';')).map(str::trim).filter(|pair| !pair.is_empty());
    let pairs: Vec<_> = pairs.map(|pair| pair.split_once('=')).collect::<Option<_>>()?;
    if !pairs.iter().all(|(name, value)| is_token(name) && (is_bare(value) || is_quoted(value))) {
        return None;
    }
    let mut nodes = pairs.iter().filter(|(name, _)| name.eq_ignore_ascii_case("for"));
    let (_, value) = nodes.next().filter(|_| nodes.next().is_none())?;
    node(value)
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether it is a value without quotes. Some proxies leave them out where a port or an IPv6 address would need them.
fn is_bare(text: &str) -> bool {
    is_token(&text.replace([':', '[', ']'], "x"))
}

fn is_quoted(text: &str) -> bool {
    let Some(inner) = within(text, '"', '"') else { return false };
    let mut escaped = false;
    let is_inside = |c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        !ends
    };
    inner.chars().all(is_inside) && !escaped
}

/// An address with or without a port, in quotes and brackets or without them.
fn node(text: &str) -> Option<IpAddr> {
    let text = within(text, '"', '"').unwrap_or(text);
    let address: Option<IpAddr> = within(text, '[', ']').unwrap_or(text).parse().ok();
    let address = address.or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()));
    address.map(|address| address.to_canonical())
}

fn within(text: &str, begin: char, end: char) -> Option<&str> {
    text.strip_prefix(begin)?.strip_suffix(end)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let trusted = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for &(name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        trusted.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(client("192.0.2.1", &[("x-forwarded-for", "198.51.100.7")]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "198.51.100.7")]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_way_is_followed_from_the_right_to_the_first_stranger() {
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "1.2.3.4, 198.51.100.7, 10.0.0.2")]), "198.51.100.7");
        assert_eq!(
            client("10.0.0.1", &[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "198.51.100.7")]),
            "198.51.100.7"
        );
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")]), "10.0.0.3");
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "198.51.100.7, unknown, 10.0.0.2")]), "10.0.0.2");
    }

    /// A proxy may write down what it was sent, as a `Host` in which there is a comma.
    #[test]
    fn what_is_in_quotes_is_no_word_of_a_proxys() {
        for line in [
            "for=198.51.100.7;host=\"a,for=1.2.3.4\"",
            "host=\"a;for=1.2.3.4\";for=198.51.100.7",
            "host=\"a\\\",for=1.2.3.4\";for=198.51.100.7",
            // And what was there before it may leave a quote open.
            "for=1.2.3.4;host=\", for=198.51.100.7",
            "for=1.2.3.4, \" ,for=198.51.100.7;by=\"[fd00::1]\"",
        ] {
            assert_eq!(client("10.0.0.1", &[("forwarded", line)]), "198.51.100.7", "{line}");
        }
    }

    #[test]
    fn a_hop_that_is_none_ends_the_way() {
        for element in [
            "for=198.51.100.7;for=1.2.3.4",
            "for=198.51.100.7;host=a b",
            "for=198.51.100.7 host=a",
            "for=\"198.51.100.7",
            "for=\"198.51.100.7\"\"",
            "for=\"198.51.100.7\\\"",
            "for=",
            "proto=https",
            "198.51.100.7",
        ] {
            let line = format!("for=1.2.3.4, {element}, for=10.0.0.2");
            assert_eq!(client("10.0.0.1", &[("forwarded", &line)]), "10.0.0.2", "{line}");
        }
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "1.2.3.4, [[2001:db8::1]], 10.0.0.2")]), "10.0.0.2");
        // Nothing is no hop (RFC 9110 §5.6.1.2).
        assert_eq!(client("10.0.0.1", &[("forwarded", "for=198.51.100.7 , ,for=10.0.0.2,")]), "198.51.100.7");
    }

    #[test]
    fn both_headers_are_read_and_must_agree() {
        assert_eq!(
            client("10.0.0.1", &[("forwarded", "for=1.2.3.4, For=\"[2001:db8::1]:4711\";proto=https")]),
            "2001:db8::1"
        );
        assert_eq!(client("fd00::1", &[("forwarded", "proto=http;for=198.51.100.7:80")]), "198.51.100.7");
        let same = [("forwarded", "for=198.51.100.7"), ("x-forwarded-for", "198.51.100.7")];
        assert_eq!(client("10.0.0.1", &same), "198.51.100.7");
        let forged = [("forwarded", "for=1.2.3.4"), ("x-forwarded-for", "198.51.100.7")];
        assert_eq!(client("10.0.0.1", &forged), "10.0.0.1");
    }
}
