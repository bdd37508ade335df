"""``{% load tiers %}``: limits and prices of a tier in the words of ``keys.words``."""

from django import template

from keys import words

register = template.Library()

register.filter("rate_text", words.rate_text)
register.filter("burst_text", words.burst_text)
register.filter("quota_text", words.quota_text)
register.filter("limits_text", words.limits_text)
register.filter("amount_text", words.amount_text)
register.filter("price_text", words.price_text)
