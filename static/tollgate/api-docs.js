// The interactive docs of the REST API: Swagger UI, which reads the description of this portal and calls nothing else.
"use strict";
{
  const place = document.getElementById("api-docs");
  const csrf = place.dataset.csrf;

  // Swagger UI is dark where a class says so; the portal where the system or the switch in its header does.
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => root.classList.toggle("dark-mode", root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  system.addEventListener("change", follow);
  new MutationObserver(follow).observe(root, { attributeFilter: ["data-theme"] });
  follow();

  // A session is not typed in: its cookie goes along by itself, and cannot be read here.
  const withoutSession = (description) => {
    const { session, csrf: _csrf, ...schemes } = description.components.securitySchemes;
    description.components.securitySchemes = schemes;
    for (const item of Object.values(description.paths)) {
      for (const operation of Object.values(item)) {
        if (operation.security) operation.security = operation.security.filter((each) => !("session" in each));
      }
    }
    return description;
  };

  // A request with a token goes without cookies; one of the session bears the CSRF token of this page.
  const prepare = (request) => {
    const hasToken = Object.keys(request.headers).some((name) => name.toLowerCase() === "authorization");
    request.credentials = hasToken ? "omit" : "same-origin";
    if (csrf && !hasToken && !["GET", "HEAD"].includes((request.method || "GET").toUpperCase())) request.headers["X-CSRFToken"] = csrf;
    return request;
  };

  SwaggerUIBundle({
    url: place.dataset.url,
    domNode: place,
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [
      {
        statePlugins: {
          spec: { wrapActions: { updateJsonSpec: (update) => (description) => update(withoutSession(structuredClone(description))) } },
        },
      },
    ],
    requestInterceptor: prepare,
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: -1,
    defaultModelExpandDepth: 2,
    displayRequestDuration: true,
    persistAuthorization: false,
    validatorUrl: null,
    syntaxHighlight: false,
    onComplete: () => place.setAttribute("data-ready", ""),
  });
}
