import { defineConfig } from "vite";

// The server serves dist/index.html as /admin and every other file as /admin/<file>. All addresses are relative, so that
// a proxy may put the service under a path.
export default defineConfig({
  base: "./",
  build: {
    assetsDir: "admin",
    // No file as a data URL: the page's policy allows those for pictures alone.
    assetsInlineLimit: 0,
    // A check of what may be stale, a polyfill for browsers of long ago: neither is needed.
    modulePreload: { polyfill: false },
    target: "es2022",
    // What the licences of the libraries within ask for.
    license: { fileName: "admin/licenses.txt" },
    // In kB. The editor is the larger part, and loaded apart.
    chunkSizeWarningLimit: 650,
  },
  // `npm run dev` serves the page itself, and passes what it asks of the API to a server that runs.
  server: {
    proxy: Object.fromEntries(
      ["/auth", "/posts", "/users", "/api-keys"].map((path) => [path, "http://127.0.0.1:8080"]),
    ),
  },
});
