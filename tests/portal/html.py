"""Reading a page as a browser would: what the tests ask of every page."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
REFERENCES = ("for", "aria-labelledby", "aria-describedby", "aria-controls")
UNLABELLED = {"hidden", "submit", "button"}


@dataclass
class Page(HTMLParser):
    """A parsed page: its elements with their attributes, and the complaints that no page of ours may earn."""

    text: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)
    inside_labels: list[dict[str, str]] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        self.inline += [f"{tag} {name}" for name in attributes if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in attributes):
            self.inline.append(tag)
        if "label" in self.stack:
            self.inside_labels.append(attributes)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.stack:
            while self.stack.pop() != tag:
                pass

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def dangling_references(self) -> list[str]:
        """ids that a label or an aria attribute names and that do not exist."""
        named = [name for _, attributes in self.elements for reference in REFERENCES for name in attributes.get(reference, "").split()]
        return sorted(set(named) - set(self.ids))

    def unlabelled_controls(self) -> list[dict[str, str]]:
        labelled = {label.get("for") for label in self.all("label")}
        controls = [
            attributes
            for tag in ("input", "select", "textarea")
            for attributes in self.all(tag)
            if attributes.get("type") not in UNLABELLED
        ]
        return [
            control
            for control in controls
            if control.get("id") not in labelled and control not in self.inside_labels and "aria-label" not in control
        ]

    def foreign_addresses(self) -> list[str]:
        """What the browser would load from elsewhere."""
        loaded = [a.get("src", "") for _, a in self.elements] + [a.get("href", "") for a in self.all("link")]
        return [address for address in loaded if "//" in address]
