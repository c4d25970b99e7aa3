from email.parser import Parser

import pytest

from codedpo.core.config import SeedsConfig
from codedpo.seeds.licenses import is_allowed, of_metadata

BSD3 = """Redistribution and use in source and binary forms, with or without modification, are permitted
* Redistributions in binary form must reproduce the above copyright notice
* Neither the name of the project nor the names of its contributors may be used to endorse"""
BSD2 = "\n".join(BSD3.splitlines()[:2])


@pytest.mark.parametrize(
    ("headers", "license_text", "expected"),
    [
        ("License-Expression: MIT", "", "mit"),
        ("License-Expression: Apache-2.0 OR MIT\nLicense: whatever", "", "apache-2.0 or mit"),
        ("Classifier: License :: OSI Approved :: MIT License", "", "mit"),
        ("License: BSD", BSD3, "bsd-3-clause"),
        ("Classifier: License :: OSI Approved :: BSD License", BSD2, "bsd-2-clause"),
        ("License: BSD", "", "bsd"),
        ("License: Apache License, Version 2.0", "", "apache-2.0"),
        ("License: GNU Lesser General Public License v3", "", "lgpl"),
        ("Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)", "MIT", "gpl"),
        ("Name: x", "The MIT License\n\nCopyright", "mit"),
        ("Name: x", "", "unknown"),
        ("License: Proprietary, all rights reserved", "", "unknown"),
    ],
)
def test_licence_of_metadata(headers: str, license_text: str, expected: str) -> None:
    assert of_metadata(Parser().parsestr(headers + "\n\n"), license_text) == expected


@pytest.mark.parametrize(
    ("license_name", "allowed"),
    [
        ("mit", True),
        ("MIT", True),
        ("gpl-3.0", False),
        ("unknown", False),
        ("", False),
        ("mit or gpl-3.0", True),
        ("mit and gpl-3.0", False),
        ("mit and apache-2.0", True),
        ("(mit or gpl-3.0) and bsd-3-clause", False),
        (("mit", "apache-2.0"), True),
        (("mit", "gpl-3.0"), False),
        ((), False),
    ],
)
def test_allow_list(license_name: str | tuple[str, ...], allowed: bool) -> None:
    assert is_allowed(license_name, SeedsConfig().licenses) is allowed
