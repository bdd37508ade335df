"""Fields and serializers that take what they are told and nothing that looks like it: no number for a text, no "yes" for true."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.fields import empty

from tenants.api.problems import MOST_ERRORS


class Text(serializers.CharField):
    """A text. White space around it is taken off."""

    default_error_messages = {"invalid": _("This has to be a text.")}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """A whole number. JSON knows one kind of number: 5.0 is the same as 5."""

    default_error_messages = {"invalid": _("This has to be a whole number.")}

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer():
            data = int(data)
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class YesNo(serializers.BooleanField):
    """true or false."""

    default_error_messages = {"invalid": _("This has to be true or false.")}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class Moment(serializers.DateTimeField):
    """A moment in RFC 3339, with its offset from UTC."""

    default_error_messages = {"naive": _("Write the offset from UTC, as in 2026-11-21T08:00:00Z.")}

    def to_internal_value(self, value: Any) -> Any:
        if not isinstance(value, str):
            self.fail("invalid", format="YYYY-MM-DDThh:mm:ssZ")
        return super().to_internal_value(value)

    def enforce_timezone(self, value: Any) -> Any:
        if value.tzinfo is None:
            self.fail("naive")
        return super().enforce_timezone(value)


class Several(serializers.ListField):
    """A list. A longer one than ``max_length`` is refused before anything in it is looked at, which would take a minute for a MiB."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list) and self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        values: list[Any] = super().to_internal_value(data)
        return values

    def run_child_validation(self, data: Any) -> list[Any]:
        """As REST framework does it, but no longer than there are errors to name."""
        values: list[Any] = []
        errors: dict[int, Any] = {}
        for place, each in enumerate(data):
            try:
                values.append(self.child.run_validation(each))
            except serializers.ValidationError as error:
                errors[place] = error.detail
                if len(errors) == MOST_ERRORS:
                    break
        if errors:
            raise serializers.ValidationError(errors)  # type: ignore[arg-type]  # as REST framework itself does
        return values


class Input(serializers.Serializer[Any]):
    """The body of a request. Fields that it does not know are refused by name."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = [name for name in data if name not in self.fields]
            if unknown:
                del unknown[MOST_ERRORS:]
                known = ", ".join(self.fields) or _("none")
                text = _("There is no such field. Known are: %(known)s.") % {"known": known}
                raise serializers.ValidationError({str(name): [text] for name in unknown})
        return super().to_internal_value(data)

    def run_validation(self, data: Any = empty) -> Any:
        if data is not empty and data is not None and not isinstance(data, Mapping):
            raise serializers.ValidationError(_("This has to be an object."))
        return super().run_validation(data)


class Nothing(Input):
    """No field at all: the URL says everything."""
