"""What the console says of each answer. Here and not in the script, so that it is translated like every other text.

``{name}`` is filled in by static/tollgate/console/answers.js.
"""

from django.utils.translation import gettext as _


def console_words() -> dict[str, object]:
    """Texts by the name the script knows them by; ``checks`` are lists of what to look at."""
    return {"explain": _explanations(), "checks": _checks(), "state": _states(), "time": _times()}


def _explanations() -> dict[str, dict[str, str]]:
    return {
        "ok": {
            "title": _("Answered"),
            "text": _("The call took one token. By our count {left} of {burst} are left in the bucket, and {rate} a second flow back."),
        },
        "api": {
            "title": _("Answered by the API: {status}"),
            "text": _(
                "The gateway let the call through, so it took a token. The status comes from the API behind it, not from your limits."
            ),
        },
        "first": {
            "title": _("There it is: your first 429"),
            "text": _(
                "The bucket ran dry, and the gate came down, exactly as your tier promises. A new token drops in every {every}; "
                "leave it alone for {full} and all {burst} are back."
            ),
        },
        "throttled": {
            "title": _("Throttled: the bucket is dry"),
            "text": _(
                "A new token drops in every {every}, and the next call may take it. Without calls the bucket is full again in {full}."
            ),
        },
        "quota": {
            "title": _("The quota is used up"),
            "text": _(
                "All {quota} requests of this {period} are spent. The next {period} begins in {wait} ({moment} UTC); until then every "
                "call is answered like this one, so do not retry."
            ),
        },
        "forbidden": {
            "title": _("The gateway refused the key"),
            "text": _("403 Forbidden says that the key is missing, unknown, disabled, or of no tier that serves this address."),
        },
        "unknown_path": {
            "title": _("The gateway does not know this address"),
            "text": _("403 Missing Authentication Token is how API Gateway says that it has no such path or method."),
        },
        "failed": {
            "title": _("The API failed: {status}"),
            "text": _("The call passed the gateway, and what stands behind it failed. It is safe to try again a little later."),
        },
        "network": {
            "title": _("No answer came"),
            "text": _("The browser got nothing back, or may not show it to this page. It does not tell a page which of the two it was."),
        },
        "stopped": {
            "title": _("Stopped"),
            "text": _("{sent} of {count} requests were sent in {took}: {figures}."),
        },
        "burst": {
            "title": _("{sent} requests in {took}"),
            "text": _("{figures}."),
        },
        "calm": {
            "title": _("{sent} requests in {took}, and all were answered"),
            "text": _("The bucket never ran dry. Send more, or faster than {rate} a second, to see a 429."),
        },
    }


def _checks() -> dict[str, list[str]]:
    return {
        "forbidden": [
            _("Is the key ready and enabled? Its page says so."),
            _("Was it rotated or revoked? Then load this page again, so that it uses the current credential."),
            _("Is it new, or was it enabled just now? The gateway needs up to a minute to know it everywhere."),
        ],
        "network": [
            _("Is the gateway up? Call the address with curl: the key's page has the command."),
            _(
                "Does the API allow calls from this page (CORS)? It must answer OPTIONS with Access-Control-Allow-Origin for {origin} "
                "and Access-Control-Allow-Headers: X-Api-Key."
            ),
            _("Does a VPN, a proxy or an ad blocker stand between your browser and {host}?"),
        ],
    }


def _states() -> dict[str, str]:
    return {
        "preparing": _("This key is being prepared: until it is ready, expect 403."),
        "renewing": _("The new credential of this key is on its way, and the console sends that one: until it is there, expect 403."),
        "disabled": _("This key is disabled: expect 403 until you enable it."),
        "suspended": _("Your organisation is suspended: its credentials cannot be loaded until it is resumed."),
        "revoked": _("This key was revoked: its credential cannot be loaded any more."),
        "no_url": _("The tier of this key serves no address yet. Our staff can see this."),
        "loading": _("Loading the credential."),
        "not_loaded": _("The credential could not be loaded. Load this page again."),
        "slow_down": _("The credential was loaded too often. Try again in a minute."),
        "count_ok": _("{count} answered"),
        "count_throttled": _("{count} throttled"),
        "count_quota": _("{count} over the quota"),
        "count_refused": _("{count} refused"),
        "count_failed": _("{count} failed"),
        "sending": _("Sending {count} requests at {rate} a second. Escape stops."),
        "waiting": _("Waiting for the answer."),
        "bad_burst": _("Send 1 to 500 requests, at 1 to 200 a second."),
    }


def _times() -> dict[str, str]:
    return {
        "days": _("{days} d {hours} h"),
        "hours": _("{hours} h {minutes} min"),
        "minutes": _("{minutes} min"),
        "seconds": _("{seconds} s"),
        "milliseconds": _("{milliseconds} ms"),
    }
