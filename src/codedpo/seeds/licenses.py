"""What a source says of its licence -> an SPDX identifier in lower case, and whether the allow-list has it."""

import re
from collections.abc import Collection, Sequence
from email.message import Message

_KNOWN = (
    (r"proprietary", "proprietary"),
    (r"mozilla public license 2|mpl[- ]?2", "mpl-2.0"),
    (r"affero|agpl", "agpl-3.0"),
    (r"lesser|lgpl", "lgpl"),
    (r"general public|\bgpl", "gpl"),
    (r"python software foundation|\bpsf", "psf-2.0"),
    (r"apache", "apache-2.0"),
    (r"0bsd|zero-clause", "0bsd"),
    (r"bsd[- ]?3|3[- ]clause|new bsd|modified bsd|revised bsd", "bsd-3-clause"),
    (r"bsd[- ]?2|2[- ]clause|simplified bsd", "bsd-2-clause"),
    (r"\bbsd\b", "bsd"),
    (r"\bmit\b|expat", "mit"),
    (r"\bisc\b|iscl", "isc"),
    (r"unlicense", "unlicense"),
)
"""Words of free-text licence fields and classifiers; the first match counts, the stricter licences first."""
_NO_LICENCE = ("", "unknown", "osi approved", "dfsg approved")
"""What a field or classifier says that names no licence."""


def of_metadata(metadata: Message, license_text: str) -> str:
    """Return the licence of a package, ``unknown`` where its metadata does not tell.

    ``License-Expression`` counts alone. Else all that the metadata names counts, joined by "and": every classifier, one
    that is not recognised as ``unknown``, and the free-text ``License`` field, which beside classifiers may also be no
    name but the licence's text. Only where the metadata is silent does the licence file speak: an author who calls a
    package proprietary, or names a licence of their own, is believed whatever text lies beside. A bare "BSD" is the
    variant that stands beside it, else told apart by the clause on endorsement in the licence file.

    Args:
        metadata: The package's METADATA or PKG-INFO.
        license_text: The text of its licence file, empty if none.
    """
    expression = metadata.get("License-Expression")
    if expression:
        return " ".join(expression.split()).lower()
    classifiers = [
        line.rpartition("::")[2]
        for line in metadata.get_all("Classifier", [])
        if line.startswith("License ::")
    ]
    named = [_identify(text) or "unknown" for text in classifiers if _names_one(text)]
    field = (metadata.get("License") or "")[:200]
    if _names_one(field) and (_identify(field) or not named):
        named.append(_identify(field) or "unknown")
    found = named or [_identify(license_text[:400]) or "unknown"]
    variant = next((name for name in found if name.startswith("bsd-")), "") or _bsd_variant(license_text)
    return " and ".join(dict.fromkeys(variant if name == "bsd" else name for name in found))


def _names_one(text: str) -> bool:
    return text.strip().lower() not in _NO_LICENCE


def _identify(text: str) -> str:
    lower = text.lower()
    return next((name for pattern, name in _KNOWN if re.search(pattern, lower)), "")


def _bsd_variant(license_text: str) -> str:
    words = " ".join(license_text.lower().split())
    if "redistributions in binary form" not in words:
        return "bsd"
    return (
        "bsd-3-clause"
        if re.search(r"neither the names?|names? of .{0,80} may not be used", words)
        else "bsd-2-clause"
    )


def is_allowed(license_name: str | Sequence[str], allowed: Collection[str]) -> bool:
    """Tell whether a licence is on the allow-list.

    Of ``a OR b`` one is enough, of ``a AND b`` both are needed; of a list (The Stack: every licence found in
    a repository) all are needed; none at all is not allowed.
    """
    if not isinstance(license_name, str):
        return bool(license_name) and all(is_allowed(item, allowed) for item in license_name)
    alternatives = re.split(r"\s+or\s+", license_name.lower().replace("(", " ").replace(")", " "))
    lower = {item.lower() for item in allowed}
    if "(" in license_name:  # a mixed expression: every licence that it names has to be allowed
        return all(part.strip() in lower for item in alternatives for part in re.split(r"\s+and\s+", item))
    return any(all(part.strip() in lower for part in re.split(r"\s+and\s+", item)) for item in alternatives)
