"""All attacks by name."""

from tests.abuse import flooding, forgery, framing, holding

ATTACKS = {
    attack.name: attack
    for attack in (
        framing.h2c,
        framing.half_close,
        framing.hosts,
        framing.smuggling,
        framing.encoded_paths,
        framing.trailers,
        framing.token_trailer,
        framing.forged_address,
        forgery.junk_addresses,
        forgery.log_lines,
        forgery.foreign_receipts,
        forgery.foreign_schedules,
        forgery.odd_admin_queries,
        forgery.operator_paths,
        holding.close_and_stay,
        holding.silence,
        holding.slow_heads,
        holding.slow_bodies,
        holding.slow_batches,
        holding.slow_readers,
        holding.stopped_readers,
        flooding.pipelining,
        flooding.unknown_fields,
        flooding.nested_batches,
        flooding.unknown_keys,
        flooding.searches,
        flooding.odd_usernames,
        flooding.honest_mistakes,
        flooding.token_guesses,
        flooding.admin_guesses,
        flooding.token_passwords,
        flooding.admin_passwords,
    )
}
