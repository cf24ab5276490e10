from __future__ import annotations

import logging
import re

import pytest

from bmerge import ArchitectureError, PluginError, load_registry
from bmerge.host import discovery

METHOD = """
    from bmerge import Weight, hookimpl, merge_method

    @merge_method(name={name!r}, aliases={aliases!r})
    def body(a, b, *, alpha: Weight = 0.5):
        '''Mix.'''
        return a + alpha * (b - a)

    @hookimpl
    def bmerge_merge_methods():
        return [body]
"""
MISSPELT = """
    from bmerge import hookimpl

    @hookimpl
    def bmerge_merge_method():
        return []
"""
UNMARKED = """
    def bmerge_merge_methods():
        return []
"""
WRONG_ARGUMENT = """
    from bmerge import hookimpl

    @hookimpl
    def bmerge_trial_finished(trail):
        pass
"""
OPTIONAL = """
    from bmerge import hookimpl

    @hookimpl(optionalhook=True)
    def bmerge_hook_of_a_later_version():
        pass
"""
FAILING = """
    from bmerge import hookimpl

    @hookimpl
    def bmerge_merge_methods():
        raise RuntimeError("out of\\nluck")
"""
WRONG_THING = """
    from bmerge import hookimpl

    @hookimpl
    def bmerge_merge_methods():
        return ["weighted_sum"]
"""


def method_source(name: str, *aliases: str) -> str:
    return METHOD.format(name=name, aliases=aliases)


def test_installed_and_given_files_offer_side_by_side(install, write_plugin):
    install("mix", method_source("mix"))
    registry = load_registry([write_plugin("blend.py", method_source("blend"))])
    assert list(registry.methods) == ["blend", "mix"]
    assert registry.methods.plugin_of("blend") == "blend"


def test_records_say_where_a_plugin_comes_from(install, write_plugin):
    install("mix", method_source("mix"), "acme")
    file = write_plugin("blend.py", method_source("blend"))
    given, installed = load_registry([file]).plugins
    assert (installed.name, installed.source) == ("mix", "acme 1.2")
    assert installed.hooks == ("bmerge_merge_methods",)
    assert (given.name, given.source) == ("blend", str(file))


def test_method_is_found_by_alias(install):
    install("mix", method_source("mix", "lerp"))
    registry = load_registry()
    assert registry.method("lerp") is registry.method("mix")
    assert list(registry.methods) == ["mix"]
    assert registry.methods.plugin_of("lerp") == "mix"


def test_unknown_name_is_an_error_with_the_nearest(install):
    install("weighted_sum", method_source("weighted_sum"))
    with pytest.raises(PluginError, match="unknown merge method 'weigthed_sum'") as caught:
        load_registry().method("weigthed_sum")
    assert caught.value.hint == "did you mean 'weighted_sum'?"


@pytest.mark.parametrize(
    ("kind", "noun"),
    [("optimiser", "optimiser"), ("generator", "generator"), ("scorer", "scorer")],
)
def test_unknown_name_names_its_kind(install, kind, noun):
    with pytest.raises(PluginError, match=f"unknown {noun} 'x'") as caught:
        getattr(load_registry(), kind)("x")
    assert caught.value.hint == f"no plugin offers a {noun}"


def test_unknown_architecture_is_an_architecture_error(install):
    with pytest.raises(ArchitectureError, match="unknown architecture 'sd11'") as caught:
        load_registry().architecture("sd11")
    assert caught.value.hint == "did you mean 'sd1'?"


def test_broken_plugin_is_named_and_stops_nothing(install, caplog):
    install("bomb", "import not_there_at_all")
    install("mix", method_source("mix"))
    with caplog.at_level(logging.WARNING):
        registry = load_registry()
    assert registry.method("mix").name == "mix"
    assert "plugin 'bomb' cannot be loaded: ModuleNotFoundError" in caplog.text


def test_broken_plugin_is_the_reason_when_its_thing_is_asked_for(install):
    install("bomb", "import not_there_at_all")
    with pytest.raises(PluginError, match="'bomb' is not available: .*not_there_at_all"):
        load_registry().method("bomb")


def test_broken_plugin_is_mentioned_when_anything_is_missing(install):
    install("bomb", "import not_there_at_all")
    with pytest.raises(PluginError) as caught:
        load_registry().method("mix")
    assert "not loaded: bomb" in caught.value.hint


def test_broken_file_that_was_asked_for_is_an_error(install, write_plugin):
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        load_registry([write_plugin("bomb.py", "1 / 0")])


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        (MISSPELT, "unknown hook 'bmerge_merge_method'", "did you mean 'bmerge_merge_methods'?"),
        (UNMARKED, "does not mark 'bmerge_merge_methods'", "put @bmerge.hookimpl above it"),
        (WRONG_ARGUMENT, "does not fit: .*trail", "docs/plugins.md"),
    ],
    ids=["misspelt", "unmarked", "wrong argument"],
)
def test_wrong_hooks_are_found(install, write_plugin, source, message, hint):
    with pytest.raises(PluginError, match=message) as caught:
        load_registry([write_plugin("odd.py", source)])
    assert hint in caught.value.hint


def test_optional_hook_of_a_later_version_is_no_error(install, write_plugin):
    assert load_registry([write_plugin("later.py", OPTIONAL)]).plugins[0].error is None


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (FAILING, "failed in bmerge_merge_methods: RuntimeError: out of luck"),
        (WRONG_THING, "offers a str, not a MergeMethod"),
        (FAILING.replace("RuntimeError", "SystemExit"), "merge_methods: SystemExit: out of luck"),
        ("raise SystemExit(0)", "cannot be loaded: SystemExit: 0"),
    ],
    ids=["raises", "wrong type", "exits", "exits when loaded"],
)
def test_plugin_whose_hook_fails_is_recorded(install, source, error):
    install("odd", source)
    install("mix", method_source("mix"))
    registry = load_registry()
    assert list(registry.methods) == ["mix"]
    record = {r.name: r for r in registry.plugins}["odd"]
    assert error in record.error


@pytest.mark.parametrize("clash", ["mix", "lerp"], ids=["name", "alias"])
def test_two_plugins_with_one_name_are_an_error_that_names_both(install, clash):
    install("first", method_source("mix", "lerp"))
    install("second", method_source(clash))
    install("other", method_source("other"))
    registry = load_registry()
    with pytest.raises(PluginError, match="'first' and 'second' both offer") as caught:
        registry.method(clash)
    assert caught.value.hint == "leave one out: -p no:second"
    assert list(registry.methods) == ["mix", "other"]
    assert registry.method("other").name == "other"
    assert [r.name for r in registry.plugins if r.error] == ["second"]
    assert list(load_registry(blocked=["second", "other"]).methods) == ["mix"]


def test_a_plugin_with_the_name_of_a_built_in_method_is_to_blame(bmerge, write_plugin):
    plugin = write_plugin("mine.py", method_source("slerp"))
    told = "plugins 'mine' and 'slerp' both offer the merge method 'slerp'"
    refused = bmerge("merge", "slerp", "a.safetensors", "b.safetensors", "--plugin", plugin)
    assert refused.err.endswith(f"\nerror: {told}\nhint: leave one out: -p no:mine\n")
    listed = bmerge("plugins", "mine", "--plugin", plugin)
    assert listed.status == 0
    assert f"NOT WORKING: {told}" in listed.out
    assert bmerge("merge", "ties", "--help", "--plugin", plugin).status == 0
    assert "weighted_sum" in bmerge("methods", "--plugin", plugin).out


def test_two_plugins_of_one_name_are_told_apart(install, write_plugin):
    install("mix", method_source("mix"))
    with pytest.raises(PluginError, match="two plugins are called 'mix'"):
        load_registry([write_plugin("mix.py", method_source("other"))])


@pytest.mark.parametrize(
    ("listed", "names"),
    [("mix", ["mix"]), (" mix , blend ", ["blend", "mix"]), ("", []), ("acme", ["blend"])],
    ids=["one", "two", "none", "distribution"],
)
def test_environment_restricts_installed_plugins(install, monkeypatch, listed, names):
    install("mix", method_source("mix"))
    install("blend", method_source("blend"), "acme")
    monkeypatch.setenv("BMERGE_PLUGINS", listed)
    assert list(load_registry().methods) == names


def test_environment_does_not_restrict_files(install, monkeypatch, write_plugin):
    monkeypatch.setenv("BMERGE_PLUGINS", "")
    assert list(load_registry([write_plugin("mix.py", method_source("mix"))]).methods) == ["mix"]


def test_environment_with_an_unknown_name_is_an_error(install, monkeypatch):
    install("mix", method_source("mix"))
    monkeypatch.setenv("BMERGE_PLUGINS", "mux")
    with pytest.raises(PluginError, match="no plugin is called 'mux'"):
        load_registry()


def test_mapping_raises_key_error_as_mappings_do(install):
    methods = load_registry().methods
    with pytest.raises(KeyError):
        methods["mix"]
    assert methods.get("mix") is None
    assert "mix" not in methods


def test_observer_is_called_and_its_failure_stops_nothing(install, caplog, tmp_path):
    install(
        "watcher",
        f"""
        from pathlib import Path
        from bmerge import hookimpl

        @hookimpl
        def bmerge_trial_finished(trial):
            Path({str(tmp_path / "seen")!r}).write_text(str(trial))
        """,
    )
    install(
        "clumsy",
        """
        from bmerge import hookimpl

        @hookimpl
        def bmerge_trial_finished():
            raise ValueError("oops")
        """,
    )
    load_registry().observe("bmerge_trial_finished", trial=7)
    assert (tmp_path / "seen").read_text() == "7"
    assert "plugin 'clumsy' failed in bmerge_trial_finished: ValueError: oops" in caplog.text


def test_builtin_architectures_are_there_without_any_plugin(install):
    assert {"sd1", "sdxl"} <= set(load_registry().architectures)


def test_plugin_whose_hook_is_known_is_loaded_when_it_is_asked(install, caplog):
    for name, source in (("mix", method_source("mix", "lerp")), ("bomb", "1 / 0")):
        install(name, source, "bmerge", hook="bmerge_merge_methods")
    registry = load_registry()
    assert registry.method("mix").name == "mix"
    assert list(registry.architectures)
    assert not caplog.text
    assert registry.method("lerp").name == "mix"
    assert list(registry.methods) == ["mix"]
    assert "plugin 'bomb' cannot be loaded: ZeroDivisionError" in caplog.text


def test_listing_shows_plugins_that_were_not_needed(install):
    install("mix", method_source("mix"), "bmerge", hook="bmerge_merge_methods")
    (record,) = load_registry().plugins
    assert (record.name, record.hooks) == ("mix", ("bmerge_merge_methods",))


def test_file_may_not_have_the_name_of_a_plugin_that_waits(install, write_plugin):
    install("mix", method_source("mix"), "bmerge", hook="bmerge_merge_methods")
    with pytest.raises(PluginError, match="two plugins are called 'mix'") as caught:
        load_registry([write_plugin("mix.py", method_source("other"))])
    assert caught.value.hint == "the other one is of bmerge"


def test_own_plugins_have_the_one_hook_that_they_wait_for():
    waiting = {c.name: (c.hook,) for c in discovery.installed() if c.distribution == "bmerge"}
    hooks = {r.name: r.hooks for r in load_registry().plugins if r.distribution == "bmerge"}
    assert hooks == waiting


@pytest.mark.parametrize(("where", "kind"), [("the file", None), ("a hook", "bmerge_scorers")])
def test_plugin_that_ends_itself_is_told(write_plugin, caplog, where, kind):
    leave = "raise SystemExit(0)"
    hook = f"from bmerge import hookimpl\n@hookimpl\ndef {kind}():\n    {leave}\n"
    file = write_plugin("leaves.py", hook if kind else leave)
    with pytest.raises(PluginError) as caught:
        load_registry([str(file)]).scorer("x")
    told = f"{caught.value}{caught.value.hint}{caplog.text}"
    assert re.search(r"SystemExit: 0 \(.*leaves.py:\d\)", told)
