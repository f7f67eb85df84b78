"""Mutations. Results that are deleted."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

_WORDS = "test_deletion.py::test_no_word_and_no_object_is_left_of_a_deleted_result"


def _forgets(name: str, script: str, old: str, new: str = "", test: str = _WORDS) -> Mutation:
    """`test` with the name of its file, of those of a worker's parts."""
    return Mutation(name=name, script=script, old=old, new=new, tests=(f"tests/integration/workers/{test}",))


_RACES, _TOLD = "test_deletion_races.py::test_", "test_deletion_told.py::test_"

DELETIONS = (
    _forgets("deletion-leaves-the-request", "delete.lua", "'HDEL', job, 'spec', 'request',", "'HDEL', job, 'request',"),
    _forgets("deletion-leaves-data", "delete.lua", "'data', 'warnings', 'images')\n", "'warnings', 'images')\n"),
    _forgets("deletion-leaves-warnings", "delete.lua", "'data', 'warnings', 'images')\n", "'data', 'images')\n"),
    _forgets("deletion-leaves-events", "delete.lua", "'images')\nforget_events()\n", "'images')\n"),
    _forgets("deletion-leaves-the-text-of-an-error", "delete.lua", "without_text(is.error)", "is.error or ''"),
    _forgets("deletion-leaves-the-sender-s-result", "delete.lua", "if is.tell then notify_again(is.tell) end\n"),
    _forgets(
        "deletion-leaves-a-notice-in-hand",
        "delete.lua",
        "  unpost(id, protocols)\n",
        test=f"{_TOLD}notifier_who_has_the_result_in_hand_does_not_bring_it_back",
    ),
    _forgets(
        "deletion-sends-callbacks-again",
        "delete.lua",
        "  redis.call('HSET', job, 'told', table.concat(notified, ' '))\n",
        test=f"{_TOLD}callbacks_that_were_sent_are_not_sent_again_and_others_are",
    ),
    _forgets(
        "deletion-of-a-job-that-goes-on",
        "delete.lua",
        "if not is.ended_at then return {'not_ended', is.status} end\n",
        test=f"{_RACES}job_that_goes_on_is_refused_and_repeating_changes_nothing",
    ),
    _forgets(
        "deletion-of-another-s-result",
        "delete.lua",
        " or (args.scope and is.caller ~= args.scope)",
        test=f"{_RACES}job_that_goes_on_is_refused_and_repeating_changes_nothing",
    ),
    _forgets("what-follows-stays-noted", "settle_deletion.lua", "not is.tell or forget_wants(is.tell)", "true"),
    _forgets(
        "look-overrides-a-later-wish",
        "settle_deletion.lua",
        "if tonumber(held) ~= tonumber(args.held_until) then return 0 end\n",
        test=f"{_RACES}object_that_comes_while_it_is_looked_for_is_looked_for_again",
    ),
    _forgets(
        "result-is-gone-at-once",
        "settle_deletion.lua",
        " and age >= args.lease_s",
        test=f"{_RACES}result_is_not_gone_before_a_lease_has_passed",
    ),
    _forgets(
        "lost-attempt-says-nothing",
        "refund.lua",
        "look_again(args.job_id)\n",
        test=f"{_RACES}attempt_that_lost_its_job_and_uploads_leaves_nothing",
    ),
    _forgets(
        "lost-attempt-that-gives-back-says-nothing",
        "give_back.lua",
        "  look_again(id)  -- Where the result is deleted, this attempt may have stored something since.\n",
        test=f"{_RACES}attempt_that_lost_its_job_and_gives_it_back_leaves_nothing",
    ),
    _forgets(
        "record-goes-before-its-sender-has-heard",
        "lib/drops.lua",
        "  if is.deletion == 'deleting' then return false end\n",
        test=f"{_TOLD}record_stays_until_its_sender_has_heard",
    ),
)
