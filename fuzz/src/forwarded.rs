//! `Forwarded` and `X-Forwarded-For`. An input is the address of the peer, and header lines.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::test::TestRequest;
use actix_web::web::Data;
use ipnet::IpNet;
use posts_api::http::client::{self, TrustedProxies};

use super::with_headers;

const TRUSTED: [&str; 3] = ["10.0.0.0/8", "fd00::/8", "192.0.2.0/28"];

/// The address is the one that RFC 7239 gives where all on the way to it are ours, and never one behind a stranger.
pub fn holds(data: &[u8]) {
    let (peer, headers) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    let Some(peer) = std::str::from_utf8(peer).ok().and_then(|peer| peer.parse::<IpAddr>().ok()) else { return };
    let trusted = TrustedProxies(TRUSTED.map(|network| network.parse().unwrap()).to_vec());
    let networks = trusted.0.clone();
    let request = TestRequest::default().peer_addr(SocketAddr::new(peer, 4711)).app_data(Data::new(trusted));
    let request = with_headers(request, headers).to_http_request();

    let (peer, found) = (peer.to_canonical(), client::address(&request).unwrap());
    if !is_ours(&networks, peer) {
        assert_eq!(found, peer, "a stranger was believed");
        return;
    }
    let follow = |hops: Hops| match hops {
        Hops::Absent => None,
        Hops::These(hops) => Some(BTreeSet::from([outermost(&networks, peer, &hops)])),
        Hops::FromTheRight(hops) => {
            // Only the nearest can be told: it is one on the way to there.
            let ways = (0..=hops.len()).map(|length| outermost(&networks, peer, &hops[..length]));
            Some(ways.collect())
        }
    };
    match (follow(forwarded(&request)), follow(x_forwarded_for(&request))) {
        (None, None) => assert_eq!(found, peer),
        (Some(ways), None) | (None, Some(ways)) => assert!(ways.contains(&found), "{found} is none of {ways:?}"),
        (Some(one), Some(other)) => {
            assert!(found == peer || (one.contains(&found) && other.contains(&found)), "{found}: {one:?} {other:?}");
            if one.len() == 1 && one == other {
                assert!(one.contains(&found), "{found}: {one:?}");
            }
        }
    }
}

/// What a header says of the way, the nearest hop first.
enum Hops {
    Absent,
    These(Vec<Option<IpAddr>>),
    /// What is to the right of something that is no `Forwarded`: whoever wrote that, the proxies after it went on.
    FromTheRight(Vec<Option<IpAddr>>),
}

fn is_ours(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// The first on the way out that is none of ours, or the last before one that is no address.
fn outermost(networks: &[IpNet], peer: IpAddr, hops: &[Option<IpAddr>]) -> IpAddr {
    let mut client = peer;
    for address in hops.iter().map_while(|hop| *hop) {
        client = address;
        if !is_ours(networks, address) {
            break;
        }
    }
    client
}

fn x_forwarded_for(request: &HttpRequest) -> Hops {
    let lines: Vec<_> = request.headers().get_all("X-Forwarded-For").collect();
    if lines.is_empty() {
        return Hops::Absent;
    }
    // A line with other bytes than text is one hop that nobody can read.
    let hops = lines.iter().flat_map(|line| line.to_str().unwrap_or("unreadable").split(',').map(quoted_node));
    let mut hops: Vec<_> = hops.collect();
    hops.reverse();
    Hops::These(hops)
}

fn forwarded(request: &HttpRequest) -> Hops {
    let lines: Vec<_> = request.headers().get_all("Forwarded").collect();
    if lines.is_empty() {
        return Hops::Absent;
    }
    let mut hops = Vec::new();
    for line in lines.iter().rev() {
        let Some(elements) = line.to_str().ok().and_then(elements) else {
            return from_the_right(hops, line.to_str().unwrap_or_default());
        };
        hops.extend(elements.into_iter().rev());
    }
    Hops::These(hops)
}

/// Of a line that is malformed somewhere: its elements from the right, as far as they are well-formed. They are found
/// by trying: the longest end of the line that is a list.
fn from_the_right(mut hops: Vec<Option<IpAddr>>, line: &str) -> Hops {
    let mut ends = line.match_indices(',').map(|(comma, _)| &line[comma + 1..]);
    let longest = ends.find_map(elements).unwrap_or_default();
    hops.extend(longest.into_iter().rev());
    Hops::FromTheRight(hops)
}

/// RFC 7239 §4, from the left: the `for` of each element, and `None` for a line that does not follow the grammar.
fn elements(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let mut elements = Vec::new();
    let mut rest = line.trim_matches(BLANKS);
    loop {
        let (begin, mut nodes) = (rest, Vec::new());
        loop {
            // A pair may be empty (§4), and so may be an element (RFC 9110 §5.6.1.2).
            let (name, after) = token(rest);
            if !name.is_empty() {
                let (value, after) = value(after.strip_prefix('=')?)?;
                if name.eq_ignore_ascii_case("for") {
                    nodes.push(node(value));
                }
                rest = after;
            }
            rest = rest.trim_start_matches(BLANKS);
            let Some(after) = rest.strip_prefix(';') else { break };
            rest = after.trim_start_matches(BLANKS);
        }
        if rest.len() < begin.len() {
            // It must be there once.
            elements.push(if let [node] = nodes[..] { node } else { None });
        }
        let Some(after) = rest.strip_prefix(',') else { break };
        rest = after.trim_start_matches(BLANKS);
    }
    rest.is_empty().then_some(elements)
}

const BLANKS: [char; 2] = [' ', '\t'];

fn token(text: &str) -> (&str, &str) {
    let is_tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    text.split_at(text.find(|c| !is_tchar(c)).unwrap_or(text.len()))
}

/// A token or what is within a quoted string, as it is written, and what follows. A node without the quotes that it needs
/// for its colons and brackets is taken, too.
fn value(text: &str) -> Option<(&str, &str)> {
    let Some(inner) = text.strip_prefix('"') else {
        let is_node = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:[]".contains(c);
        let (node, after) = text.split_at(text.find(|c| !is_node(c)).unwrap_or(text.len()));
        return (!node.is_empty()).then_some((node, after));
    };
    let mut chars = inner.char_indices();
    loop {
        match chars.next()? {
            (end, '"') => return Some((&inner[..end], chars.as_str())),
            (_, '\\') => _ = chars.next()?,
            _ => {}
        }
    }
}

/// The same in quotes, or without them.
fn quoted_node(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches(BLANKS);
    node(text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text))
}

/// An address, with a port or in brackets or neither.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}
