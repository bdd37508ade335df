"""Things staff do with one row, each with a page that says the effect before it happens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from django import forms
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from keys.admin.base import M, StaffAdmin
from keys.admin.cells import change_url
from tenants.audit import Actor

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

Inputs = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Verb(Generic[M]):
    """One thing to do. ``act`` calls the service and says what happened; what it refuses is shown with the inputs kept.

    ``effect`` is the page's text: what will happen, sentence by sentence. ``asks`` False: the button acts at once, for what can do
    no harm. ``offered``: whether it makes sense for a row as it is; the service decides in any case.
    """

    slug: str
    word: "StrOrPromise"
    act: Callable[[M, Inputs, Actor], str]
    effect: Callable[[M], Sequence[str]] = lambda _row: ()
    offered: Callable[[M], bool] = lambda _row: True
    form_class: type[forms.Form] = forms.Form
    tone: str = "danger"
    asks: bool = True


class VerbAdmin(StaffAdmin[M]):
    """Adds to each row's page its verbs, as buttons."""

    verbs: Sequence[Verb[M]] = ()
    refusals: tuple[type[Exception], ...] = ()

    def get_urls(self) -> list[URLPattern]:
        ours = [
            path(
                f"<path:object_id>/{verb.slug}/",
                self.admin_site.admin_view(partial(self.verb_view, verb)),
                name=self._url_name(verb),
            )
            for verb in self.verbs
        ]
        return ours + super().get_urls()

    def verb_view(self, verb: Verb[M], request: HttpRequest, object_id: str) -> HttpResponse:
        """GET asks, POST acts."""
        if not self.may_act(request):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self.not_found(request, object_id)
        form = verb.form_class(request.POST) if request.method == "POST" else verb.form_class()
        if form.is_valid():
            try:
                self.message_user(request, verb.act(row, form.cleaned_data, Actor.of(request)))
                return HttpResponseRedirect(change_url(row))
            except self.refusals as refusal:
                form.add_error(None, str(refusal))
        context = self.page(request, row, title=str(verb.word), verb=verb, effect=verb.effect(row), form=form)
        return TemplateResponse(request, "admin/keys/confirm.html", context)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
        row = kwargs.get("obj")
        if row is not None and self.may_act(request):
            context["verbs"] = [
                {"verb": verb, "url": reverse(f"admin:{self._url_name(verb)}", args=[row.pk])} for verb in self.verbs if verb.offered(row)
            ]
        return super().render_change_form(request, context, *args, **kwargs)

    def _url_name(self, verb: Verb[M]) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{verb.slug}"
