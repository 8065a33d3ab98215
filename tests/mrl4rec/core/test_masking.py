"""Secrets are taken out of text, whichever way they came into the settings."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from mrl4rec.core.masking import masked, scrub
from mrl4rec.core.settings import Settings

HOOK = "https://hooks.example/services/T1/SECRET9?key=KEY9"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:pa55@host:5000/x", "http://me:***@host:5000/x"),
        ("postgresql+psycopg2://me:p%40ss@db/x?a=b", "postgresql+psycopg2://me:***@db/x?a=b"),
        ("https://:token@host", "https://:***@host"),
        ("https://me:p@ss@host/x", "https://me:***@host/x"),
        (
            "https://host/a.gz?id=7&X-Amz-Signature=ab%2F: b",
            "https://host/a.gz?id=7&X-Amz-Signature=***: b",
        ),
        ("see http://a:b@c and http://d:e@f.", "see http://a:***@c and http://d:***@f."),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////w/mlflow.db", "sqlite:////w/mlflow.db"),
        ("http://user@host", "http://user@host"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert masked(address) == shown


def test_text_is_rid_of_the_settings_own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = Settings(
        alert_webhook=SecretStr(HOOK), tracking_uri="http://me:p%40ssword@mlflow.example"
    )
    text = f"post {HOOK} failed; path /services/T1/SECRET9?key=KEY9; user me, password p@ssword"
    found = scrub(text, settings)
    assert found == "post *** failed; path ***; user me, password ***"
    # what is nowhere in the environment is not known to be secret, but by its name
    assert scrub(text) == text.replace("key=KEY9", "key=***")


@pytest.mark.parametrize(
    ("name", "value"),
    [("MRL4REC_ALERT_WEBHOOK", "https://h.example/s3cr3t9"),
     ("MRL4REC_TRACKING_URI", "http://me:s3cr3t9@h"), ("MLFLOW_TRACKING_URI", "http://me:s3cr3t9@h"),
     ("MLFLOW_TRACKING_PASSWORD", "s3cr3t9"), ("MLFLOW_TRACKING_TOKEN", "s3cr3t9"),
     ("AWS_SECRET_ACCESS_KEY", "s3cr3t9"), ("AWS_SESSION_TOKEN", "s3cr3t9")],
)  # fmt: skip
def test_what_the_environment_keeps_is_known_too(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert "s3cr3t9" not in scrub(f"went wrong at {value}: /s3cr3t9 s3cr3t9".replace(" s3", " /s3"))


def test_a_short_password_hides_no_other_words() -> None:
    settings = Settings(tracking_uri="http://me:a@mlflow.example")
    assert scrub("at http://me:a@mlflow.example", settings) == "at http://me:***@mlflow.example"
    assert scrub("a banana", settings) == "a banana"
