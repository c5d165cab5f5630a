const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#console",
  deepLinking: true,
  // Tries the server that the page came from: under another than its public address, the policy allows no other.
  responseInterceptor(response) {
    if (response.ok && response.url === new URL("/openapi.json", location).href) {
      const document = { ...JSON.parse(response.text), servers: [{ url: "/" }] };
      // No script can set that cookie, and where there is one the browser sends it: nothing to fill in.
      delete document.components.securitySchemes.session;
      response.text = JSON.stringify(document);
    }
    return response;
  },
  // The default asks a validator on the network.
  validatorUrl: null,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
});
