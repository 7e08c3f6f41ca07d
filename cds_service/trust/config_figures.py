"""Who may read numbers and explanations, and where traces go: ``[metrics] [explain] [tracing]``."""

from __future__ import annotations

from dataclasses import dataclass, field

from cds_service.trust.config_place import Place, Table, text_of

_SHORTEST_TOKEN = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FiguresSettings:
    """Tokens and places of the numbers; None means that nobody may read them.

    ``metrics_port`` is a port of this machine at which nothing but the metrics answers, without a
    token.
    """

    metrics_token: str | None = field(default=None, repr=False)
    metrics_port: int | None = None
    explain_token: str | None = field(default=None, repr=False)
    otlp_endpoint: str | None = None


def read_figures(place: Place, metrics: Table, explain: Table, tracing: Table) -> FiguresSettings:
    """Return what the three tables say.

    Raises:
        SettingsError: A token file cannot be read or holds a token that can be guessed.
    """
    port = metrics.get("port")
    return FiguresSettings(
        metrics_token=_token(place, "metrics", metrics),
        metrics_port=port if isinstance(port, int) else None,
        explain_token=_token(place, "explain", explain),
        otlp_endpoint=text_of(tracing, "otlp_endpoint") or None,
    )


def _token(place: Place, name: str, table: Table) -> str | None:
    if "token_file" not in table:
        return None
    place.key_path, key = name, "token_file"
    token = place.bytes_of(key, text_of(table, key)).decode("ascii", "replace").strip()
    is_plain = token.isascii() and token.isprintable() and " " not in token
    if len(token) < _SHORTEST_TOKEN or not is_plain:
        raise place.fault(
            key,
            "the token has less than 32 characters, or others than letters, digits and signs.",
            "Make one with: openssl rand -hex 32",
        )
    return token
