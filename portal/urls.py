"""URLs of the portal."""

from allauth.account import views as account
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.models import Group
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from portal.views import api_docs, docs, health, home, mailbox, metrics
from tenants.ratelimits import limited

handler400 = "portal.views.errors.bad_request"
handler403 = "portal.views.errors.permission_denied"
handler404 = "portal.views.errors.page_not_found"
handler429 = "portal.views.errors.ratelimited"  # allauth looks for it
handler500 = "portal.views.errors.server_error"

# allauth has limits of its own (30 sign-ins a minute and address, 5 failed ones in 5 minutes an account, ...), but reads and
# writes its counters one after the other. These count atomically, by address and by account, and say when to try again.
sign_in = limited(group="sign-in", rate="30/m", key="ip")(limited(group="sign-in", rate="20/5m", key="post:login")(account.login))
sign_up = limited(group="sign-up", rate="20/m", key="ip")(limited(group="sign-up", rate="5/h", key="post:email")(account.signup))
reset = limited(group="reset", rate="20/m", key="ip")(limited(group="reset", rate="5/h", key="post:email")(account.password_reset))
reauthenticate = limited(group="reauthenticate", rate="10/m", key="user")(account.reauthenticate)

# What people type who look for the reference of the REST API.
to_api_docs = RedirectView.as_view(pattern_name="api_docs", http_method_names=["get", "head"])

# Admin pages of other apps that nobody needs and somebody could misuse: the seeds of second factors; making any address a verified
# one; groups, whose changes leave no audit event. Here every app's admin has been registered. An import that failed further down is
# tried again with the next request, and says then what was wrong the first time.
admin.site.unregister([each for each in (Authenticator, EmailAddress, Group) if admin.site.is_registered(each)])

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("docs/", docs.docs, name="docs"),
    path("docs/errors/", api_docs.errors, name="docs_errors"),
    path("docs/errors/<slug:slug>/", api_docs.error, name="docs_error"),
    path("", include("keys.urls")),
    path("", include("tenants.urls")),
    # People
    path("accounts/login/", sign_in, name="account_login"),
    path("accounts/signup/", sign_up, name="account_signup"),
    path("accounts/password/reset/", reset, name="account_reset_password"),
    path("accounts/reauthenticate/", reauthenticate, name="account_reauthenticate"),
    path("accounts/", include("allauth.urls")),
    # Staff
    path("staff/", admin.site.urls),
    # Scripts
    path("api/docs", api_docs.api_docs, name="api_docs"),
    path("api/", to_api_docs, name="api"),
    path("api/docs/", to_api_docs, name="api_docs_slash"),
    path("api/openapi.yaml", api_docs.openapi, name="openapi"),
    path("api/v1/", include("keys.api.urls")),
    # Operations
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
    # Demo mode only
    path("_mail/", mailbox.mail_list, name="mailbox"),
    path("_mail/<slug:name>/", mailbox.mail_detail, name="mail"),
]
