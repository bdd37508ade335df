// The interactive docs of the REST API: Swagger UI, which reads the description of this portal and calls nothing else.
"use strict";
{
  const place = document.getElementById("api-docs");
  const csrf = place.dataset.csrf;

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
    docExpansion: "none",
    defaultModelsExpandDepth: -1,
    defaultModelExpandDepth: 2,
    displayRequestDuration: true,
    persistAuthorization: false,
    validatorUrl: null,
    syntaxHighlight: false,
    onComplete: () => place.setAttribute("data-ready", ""),
  });
}
