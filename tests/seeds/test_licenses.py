from email.parser import Parser

import pytest

from codedpo.core.config import SeedsConfig
from codedpo.seeds.licenses import is_allowed, of_metadata

BSD3 = """Redistribution and use in source and binary forms, with or without modification, are permitted
* Redistributions in binary form must reproduce the above copyright notice
* Neither the name of the project nor the names of its contributors may be used to endorse"""
BSD2 = "\n".join(BSD3.splitlines()[:2])

MIT = "Classifier: License :: OSI Approved :: MIT License"
AGPL = "Classifier: License :: OSI Approved :: GNU Affero General Public License v3"


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
        ("License: Proprietary, all rights reserved", "", "proprietary"),
        ("License: Proprietary", "The MIT License\n\nCopyright", "proprietary"),
        ("License: Terms of Acme", "The MIT License\n\nCopyright", "unknown"),
        ("License: UNKNOWN", "The MIT License\n\nCopyright", "mit"),
        ("Classifier: License :: OSI Approved\nLicense: MIT", "", "mit"),
        (f"{MIT}\n{AGPL}", "", "mit and agpl-3.0"),
        (f"{AGPL}\n{MIT}", "", "agpl-3.0 and mit"),
        (f"{MIT}\nClassifier: License :: Free for non-commercial use", "", "mit and unknown"),
        (f"{MIT}\nLicense: GPL-3.0", "", "mit and gpl"),
        (f"{MIT}\nLicense: MIT", "", "mit"),
        (f"{MIT}\nLicense: Permission is hereby granted, free of charge", "", "mit"),
        ("Classifier: License :: OSI Approved :: BSD License\nLicense: BSD-3-Clause", BSD3, "bsd-3-clause"),
        ("Classifier: License :: OSI Approved :: BSD License\nLicense: BSD-3-Clause", "", "bsd-3-clause"),
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
