"""Requirements say what sources import, as ranges; sources keep to their sizes."""

import re
import tomllib

import pytest

# The engine rests on inner parts of this release, which asserts the versions of the other two.
EXACT = {"sglang", "sglang-kernel", "flashinfer-python"}
RANGES = {"torch": ">=2.11", "transformers": ">=5.12.1"}


@pytest.fixture(scope="module")
def distributions(check_dependencies):
    return check_dependencies.distributions(check_dependencies.ROOT)


def test_every_import_is_declared_and_every_declaration_is_imported(check_dependencies, distributions):
    assert [finding for one in distributions for finding in check_dependencies.findings_of(one)] == []


def a_distribution(folder, *, imports, dependencies):
    package = folder / "libs" / "thing" / "src" / "tetrad_thing"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(imports)
    project = f'[project]\nname = "tetrad-thing"\ndependencies = {dependencies}\n'
    (folder / "libs" / "thing" / "pyproject.toml").write_text(project)


def test_a_missing_and_a_needless_requirement_are_found(check_dependencies, tmp_path):
    a_distribution(tmp_path, imports="import zmq\nimport tetrad_wire.ids\nimport os\n", dependencies=["numpy>=1"])

    (one,) = check_dependencies.distributions(tmp_path)

    findings = " ".join(check_dependencies.findings_of(one))
    assert "imports pyzmq" in findings
    assert "imports tetrad-wire" in findings
    assert "declares numpy" in findings
    assert "os" not in check_dependencies.imports_of(one)


def test_what_only_type_checkers_import_need_not_be_declared(check_dependencies, tmp_path):
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy\nelse:\n    import yaml\n"
    a_distribution(tmp_path, imports=source, dependencies=["pyyaml"])

    (one,) = check_dependencies.distributions(tmp_path)

    assert list(check_dependencies.findings_of(one)) == []


def test_requirements_are_ranges_with_a_lower_bound(distributions):
    for one in distributions:
        for requirement in one.requirements:
            name, bound = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?\s*(.*)", requirement).groups()
            if name.startswith("tetrad-"):
                continue
            if name in EXACT:
                assert bound.startswith("=="), f"{one.name}: {requirement} is not exact"
                continue
            assert bound.startswith(">="), f"{one.name}: {requirement} is not a range"
            assert bound == RANGES.get(name, bound), f"{one.name}: {requirement}"


def test_services_need_no_other_service_and_libraries_need_no_service(distributions):
    services = {one.name for one in distributions if one.folder.parent.name == "services"}

    assert len(services) == 4
    for one in distributions:
        assert not (one.required | one.optional) & services, one.name


def test_distributions_of_the_workspace_are_resolved_from_it(distributions):
    for one in distributions:
        document = tomllib.loads((one.folder / "pyproject.toml").read_text())
        ours = {name for name in one.required | one.optional if name.startswith("tetrad-")}

        assert set(document.get("tool", {}).get("uv", {}).get("sources", {})) == ours, one.name


def test_files_and_functions_keep_to_their_sizes(check_sizes):
    files = list(check_sizes.sources(check_sizes.ROOT))

    assert files
    assert [finding for path in files for finding in check_sizes.findings_of(path, root=check_sizes.ROOT)] == []


def test_a_long_file_a_long_function_and_a_nameless_file_are_found(check_sizes, tmp_path):
    path = tmp_path / "utils.py"
    path.write_text("def long():\n" + "    x = 1\n" * 400)

    findings = list(check_sizes.findings_of(path, root=tmp_path))

    assert [words in finding for words, finding in zip(("named utils", "401 lines", "long has"), findings, strict=True)]
    assert len(findings) == 3


def test_exceptions_from_the_sizes_are_still_needed(check_sizes):
    for name in check_sizes.EXCEPTIONS:
        path, _, function = name.partition(":")
        text = (check_sizes.ROOT / path).read_text()

        assert function in text
        assert function or text.count("\n") > check_sizes.MAX_FILE_LINES, f"{name} is small now: take it off the list"
