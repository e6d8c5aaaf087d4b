"""The config file: read once, every mistake told in one line."""

from __future__ import annotations

import tomllib

import pytest

from tryage import InvalidCard, UsageError
from tryage.gateway.config import EXAMPLE, library_of, read_settings
from tryage.gateway.settings import Settings

UPSTREAM = '[[upstreams]]\nname = "a"\nbase_url = "http://127.0.0.1:1/v1"\n'


@pytest.fixture
def written(tmp_path):
    def write(text):
        file = tmp_path / "gateway.toml"
        file.write_text(text)
        return file

    return write


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "upstreams is missing"),
        ("[server\n", "not valid TOML"),
        ("upstreams = []", "upstreams = []: tuple should have at least 1 item"),
        (f"[server]\nprot = 1\n{UPSTREAM}", "unknown key server.prot. Did you mean 'port'?"),
        (f"[sever]\n{UPSTREAM}", "unknown key sever. Did you mean 'server'?"),
        (f"[server]\nport = 99999\n{UPSTREAM}", "server.port = 99999: input should be less"),
        (f"[timeouts]\nwhole_s = 0\n{UPSTREAM}", "timeouts.whole_s = 0: input should be greater"),
        (
            f'[routing]\nflags = "cheep"\n{UPSTREAM}',
            "routing.flags = 'cheep': unknown flag 'cheep'",
        ),
        (f'{UPSTREAM}kye_env = "A"', "unknown key upstreams[1].kye_env. Did you mean 'key_env'?"),
        (
            f"{UPSTREAM}[upstreams.timeouts]\nhole_s = 1",
            "upstreams[1].timeouts.hole_s. Did you mean",
        ),
        ('[[upstreams]]\nname = "a"', "upstreams[1].base_url is missing"),
        (UPSTREAM.replace("http", "ftp"), "give an address such as https://"),
        (UPSTREAM.replace("http://", "http://u:p@"), "without a query, a fragment or a key"),
        (UPSTREAM.replace('"a"', '"tryage:x"'), "tryage is the router"),
    ],
)
def test_a_mistake_is_told_with_file_and_place(written, text, told):
    file = written(text)
    with pytest.raises(UsageError) as wrong:
        read_settings(file)
    assert str(wrong.value).startswith(f"{file}: ")
    assert told in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="serve --example"):
        read_settings(tmp_path / "none.toml")


def test_the_example_is_valid_and_names_every_key():
    read_settings(EXAMPLE)
    text = EXAMPLE.read_text()
    parts = dict(Settings.model_fields) | {"upstreams": None}
    for name, field in parts.items():
        assert f"[{name}]" in text
        if field is not None:
            assert all(f"{key} = " in text for key in field.annotation.model_fields), name
    shown = tomllib.loads(text)
    defaults = Settings.model_validate({"upstreams": shown["upstreams"]}).model_dump(mode="json")
    for name, part in shown.items():
        if name != "upstreams":
            assert part == {key: defaults[name][key] for key in part}


def test_an_upstream_may_override_some_of_the_timeouts(written):
    text = f"[timeouts]\nconnect_s = 1\nwhole_s = 2\n{UPSTREAM}[upstreams.timeouts]\nwhole_s = 9\n"
    settings = read_settings(written(text))
    merged = settings.timeouts.but(settings.upstreams[0].timeouts)
    assert (merged.connect_s, merged.whole_s, merged.first_token_s) == (1, 9, 60)


def test_keys_are_required_where_others_can_connect():
    def required(host, **keys):
        upstream = {"name": "a", "base_url": "http://127.0.0.1:1"}
        parts = {"server": {"host": host}, "keys": keys, "upstreams": [upstream]}
        return Settings.model_validate(parts).keys_required

    assert [required(h) for h in ("127.0.0.1", "::1", "localhost")] == [False] * 3
    assert [required(h) for h in ("0.0.0.0", "gateway.example.com")] == [True] * 2
    assert required("127.0.0.1", required=True)
    assert not required("0.0.0.0", required=False)


def test_cards_come_from_the_own_file_or_the_bundled_library_and_can_be_overridden(written):
    written("").with_name("cards.toml").write_text('[[models]]\nname = "mine"\nparameters = 5e9\n')
    text = '[routing]\nlibrary = "cards.toml"\n' + "".join(
        f'[[upstreams]]\nname = "{name}"\nmodel = "{model}"\nbase_url = "http://127.0.0.1:1"\n{card}'
        for name, model, card in [
            ("gpt-4o", "gpt-4o", ""),
            ("backup", "gpt-4o", "[upstreams.card]\ninput_usd_per_mtok = 7.0\n"),
            ("mine", "x", ""),
            ("bare", "x", '[upstreams.card]\nsecurity = "local"\n'),
        ]
    )
    library = library_of(read_settings(written(text)))

    known, backup, mine, bare = library
    assert library.names == ("gpt-4o", "backup", "mine", "bare")
    assert backup.input_usd_per_mtok == 7.0
    assert (backup.output_usd_per_mtok, backup.benchmarks) == (
        known.output_usd_per_mtok,
        known.benchmarks,
    )
    assert mine.parameters == 5e9
    assert (bare.security, bare.parameters) == ("local", None)


def test_a_wrong_card_is_told(written):
    text = f"{UPSTREAM}[upstreams.card]\nparametres = 1\n"
    with pytest.raises(InvalidCard, match="unknown key 'parametres'. Did you mean 'parameters'"):
        library_of(read_settings(written(text)))
