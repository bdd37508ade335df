"""What the staff's pages have in common: nothing is deleted, every change is a service's, what was done stands in the audit trail."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from keys.admin import cells
from keys.admin.cells import change_url
from tenants.models import AuditEvent

M = TypeVar("M", bound=models.Model)
EVENTS_SHOWN = 200

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    ModelAdmin = admin.ModelAdmin
    ModelForm = forms.ModelForm
    TabularInline = admin.TabularInline
else:

    class ModelAdmin(admin.ModelAdmin):
        """Generic for the type checker alone, which Django's own is not at run time."""

        __class_getitem__ = classmethod(lambda cls, _model: cls)

    class ModelForm(forms.ModelForm):
        """Generic for the type checker alone, which Django's own is not at run time."""

        __class_getitem__ = classmethod(lambda cls, _model: cls)

    class TabularInline(admin.TabularInline):
        """Generic for the type checker alone, which Django's own is not at run time."""

        __class_getitem__ = classmethod(lambda cls, *_models: cls)


def moment_column(field: str, description: "StrOrPromise") -> Callable[[Any, models.Model], SafeString]:
    """A column, or a line of a row's page, that shows a time as all our pages do: relative, the exact one in its tooltip."""

    @admin.display(description=description, ordering=field)
    def column(_admin: Any, row: models.Model) -> SafeString:
        return cells.moment(getattr(row, field))

    return column


class StaffAdmin(ModelAdmin[M]):
    """A page of rows that nobody deletes. Looking needs the view permission, acting the change permission."""

    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def may_act(self, request: HttpRequest) -> bool:
        """Whether this person may change such rows through a service, be there a form for it or not."""
        return request.user.has_perm(f"{self.opts.app_label}.{get_permission_codename('change', self.opts)}")

    def log_addition(self, request: HttpRequest, obj: models.Model, message: object) -> LogEntry:
        """Nothing: the service has written the audit trail, and a second record would tell less."""
        return LogEntry()

    def log_change(self, request: HttpRequest, obj: models.Model, message: object) -> LogEntry:
        """Nothing: the service has written the audit trail, and a second record would tell less."""
        return LogEntry()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})})

    def history_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """What was done with the row, from the audit trail, newest first."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self.not_found(request, object_id)
        events = AuditEvent.objects.filter(target_type=self.opts.model_name, target_id=str(row.pk)).order_by("-created_at")
        context = self.page(request, row, title=_("History"), events=events[:EVENTS_SHOWN])
        return TemplateResponse(request, "admin/keys/history.html", {**context, **(extra_context or {})})

    def page(self, request: HttpRequest, row: M, *, title: str, **context: Any) -> dict[str, Any]:
        """The context of a page of our own about one row."""
        frame = self.admin_site.each_context(request)
        return {**frame, "title": title, "subtitle": str(row), "original": row, "opts": self.opts, "row_url": change_url(row), **context}

    def not_found(self, request: HttpRequest, object_id: str) -> HttpResponseRedirect:
        """Back to the index with a message, as the admin itself does."""
        text = _("There is no %(kind)s with the id %(id)s.") % {"kind": self.opts.verbose_name, "id": unquote(object_id)}
        self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(reverse("admin:index"))


class ReadOnlyAdmin(StaffAdmin[M]):
    """Rows that are looked at. What can be done with one is a verb of its own."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False


class StaffRequest(HttpRequest):
    """A request that was tried once; ``refusal`` is what the service said."""

    refusal: str


class IntentForm(ModelForm[M]):
    """A form whose save is a service. What the service refuses comes back as an error of the form, with the inputs kept."""

    refusal = ""
    going_back = False

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.refusal:
            self.add_error(None, self.refusal)
        return cleaned

    def is_valid(self) -> bool:
        return not self.going_back and super().is_valid()


class IntentAdmin(StaffAdmin[M]):
    """Rows that are added and changed through services, which ``save_model`` calls."""

    refusals: tuple[type[Exception], ...] = ()

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Try once. A refusal has rolled everything back; the same request then renders the form again, with the refusal on it."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except self.refusals as refusal:
            cast("StaffRequest", request).refusal = str(refusal)
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: M | None = None, change: Any = False, **kwargs: Any) -> "type[forms.ModelForm[M]]":
        form_class = super().get_form(request, obj, change=change, **kwargs)
        if issubclass(form_class, IntentForm):  # made for this request alone
            form_class.refusal = getattr(request, "refusal", "")
            form_class.going_back = "_back" in request.POST
        return form_class

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        """Only what inlines hold: everything else went through the service in ``save_model``."""
        for formset in formsets:
            self.save_formset(request, form, formset, change)

    def response_add(self, request: HttpRequest, obj: M, post_url_continue: str | None = None) -> HttpResponse:
        self.message_user(request, self.added_text(obj))
        return HttpResponseRedirect(change_url(obj))

    def response_change(self, request: HttpRequest, obj: M) -> HttpResponse:
        self.message_user(request, self.changed_text(obj))
        return HttpResponseRedirect(change_url(obj))

    def added_text(self, row: M) -> str:
        return _("%(row)s was added.") % {"row": row}

    def changed_text(self, row: M) -> str:
        return _("%(row)s was changed.") % {"row": row}

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
        context.update(show_save_and_add_another=False, show_save_and_continue=False)
        return super().render_change_form(request, context, *args, **kwargs)
