"""Staff pages about people, tenants and the audit trail."""

from typing import Any

from allauth.account.decorators import secure_admin_login
from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy as _

from tenants.audit import Actor, record
from tenants.models import AuditEvent, Membership, Tenant, User

# Staff sign in where everybody does: with the same limits and the second factor. The same goes for changing a password.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]


def _change_password(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    return redirect("account_change_password")


admin.site.password_change = _change_password  # type: ignore[method-assign,assignment]


@admin.register(User)
class UserAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    """People sign up themselves; staff change rights and lock people out. Nobody is deleted: the audit trail names them."""

    list_display = ["email", "is_active", "is_staff", "is_superuser", "date_joined", "last_login"]
    list_filter = ["is_active", "is_staff", "is_superuser"]
    search_fields = ["email"]
    ordering = ["-date_joined"]
    date_hierarchy = "date_joined"
    fields = ["email", "is_active", "is_staff", "is_superuser", "user_permissions", "date_joined", "last_login"]
    readonly_fields = ["email", "date_joined", "last_login"]
    filter_horizontal = ["user_permissions"]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        """Only superusers hand out rights: others could make themselves superusers."""
        rights = [] if _is_superuser(request) else ["is_staff", "is_superuser", "user_permissions"]
        return [*self.readonly_fields, *rights]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        protected = obj is not None and obj.is_superuser and not _is_superuser(request)
        return super().has_change_permission(request, obj) and not protected

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: User, form: forms.Form, change: bool) -> None:  # noqa: FBT001 - Django's signature
        super().save_model(request, obj, form, change)
        data = {name: getattr(obj, name) for name in form.changed_data if name.startswith("is_")}
        record(actor=Actor.of(request), action="person.changed", target=obj, data={"changed": form.changed_data, "now": data})


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]  # as above
    model = Membership
    fields = ["user", "role", "created_at"]
    readonly_fields = ["created_at"]
    autocomplete_fields = ["user"]
    extra = 0


@admin.register(Tenant)
class TenantAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    """A tenant with its members."""

    list_display = ["name", "members", "created_at"]
    search_fields = ["name", "memberships__user__email"]
    ordering = ["-created_at"]
    date_hierarchy = "created_at"
    fields = ["name", "id", "created_at"]
    readonly_fields = ["id", "created_at"]
    inlines = [MembershipInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        tenants: QuerySet[Tenant] = super().get_queryset(request)
        return tenants.annotate(member_count=Count("memberships"))

    @admin.display(description=_("members"), ordering="member_count")
    def members(self, tenant: Tenant) -> int:
        return int(getattr(tenant, "member_count", 0))

    def has_delete_permission(self, request: HttpRequest, obj: Tenant | None = None) -> bool:
        return False

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """The audit event tells the members before and after; it is written in the transaction of the change."""
        tenant: Tenant = form.instance
        before = _roles(tenant)
        super().save_related(request, form, formsets, change)
        data = {"name": tenant.name, "members": {"before": before, "after": _roles(tenant)}}
        action = "tenant.changed" if change else "tenant.created"
        record(actor=Actor.of(request), action=action, target=tenant, tenant=tenant, data=data)


def _roles(tenant: Tenant) -> dict[str, str]:
    return {each.user.email: each.role for each in Membership.objects.filter(tenant=tenant).select_related("user")}


@admin.register(AuditEvent)
class AuditEventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    """Who did what. Nobody changes or deletes it, staff neither."""

    list_display = ["created_at", "actor_label", "action", "target_type", "target_label", "tenant"]
    list_filter = ["target_type", "action", "created_at"]
    list_select_related = ["tenant"]
    search_fields = ["actor_label", "action", "target_label", "target_id", "request_id"]
    ordering = ["-created_at"]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEvent | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuditEvent | None = None) -> bool:
        return False
