"""Mutations. What callers' jobs take of Redis, and their deadlines."""

from __future__ import annotations

from tests.mutations.mutation import forgets

_TAKES = "kept:caller_who_submits_and_cancels_takes_no_more_than_he_may"
_COUNTS = "kept:job_counts_from_its_submission_until_its_record_expires"
_BATCH = "kept:batch_counts_as_what_goes_on_while_a_job_of_it_does"

KEPT = (
    forgets("submission-is-not-counted", "submit.lua", ", 'kept', units}", "}", tests=_COUNTS),
    forgets(
        "submission-asks-for-no-room",
        "lib/drops.lua",
        "local over = max_bytes and sum - math.floor(max_bytes / KEPT_UNIT) or 0",
        "local over = 0",
        tests=_TAKES,
    ),
    forgets(
        "refused-submission-is-counted",
        "lib/drops.lua",
        "  add_units(caller, -units)\n  return false\n",
        "  return false\n",
        tests="kept:jobs_that_go_on_are_never_dropped_and_the_next_is_refused",
    ),
    forgets(
        "message-is-refused-for-want-of-room",
        "submit.lua",
        ", args.tag) then refusal = 'over_kept'",
        ") then refusal = 'over_kept'",
        tests="kept:message_that_stands_in_redis_already_is_not_refused",
    ),
    forgets(
        "refused-messages-ask-for-no-room",
        "reject.lua",
        "take_room(args.caller, units, args.max_kept, true)\n",
        tests="kept:refused_messages_make_room_for_each_other",
    ),
    forgets(
        "end-is-not-counted",
        "lib/ends.lua",
        "  count_end(id, is, written)\n",
        tests="kept:what_is_counted_is_about_what_the_jobs_take",
    ),
    forgets(
        "end-is-counted-and-not-summed-up",
        "lib/kept.lua",
        "      return add_units(is.caller, units - before)\n",
        "      return\n",
        tests=_COUNTS,
    ),
    forgets(
        "end-of-what-an-earlier-version-replayed-is-counted-twice",
        "lib/kept.lua",
        "'NX', ",
        tests="kept:end_of_a_job_that_an_earlier_version_replayed_counts_once",
    ),
    forgets(
        "events-of-what-somebody-read-are-not-counted",
        "lib/kept.lua",
        " and not is.watched",
        tests="kept:what_is_counted_of_jobs_that_ran_is_about_what_they_take",
    ),
    forgets(
        "data-on-the-way-is-not-counted",
        "lib/kept.lua",
        " and not is.sent",
        tests="kept:what_is_counted_of_jobs_that_ran_is_about_what_they_take",
    ),
    forgets(
        "what-an-end-writes-is-not-counted",
        "lib/kept.lua",
        "    for _, each in ipairs(written) do bytes = bytes + #tostring(each) end\n",
        tests="kept:what_an_end_writes_counts",
    ),
    forgets(
        "what-is-wanted-of-an-end-is-not-counted",
        "lib/ends.lua",
        "  count_kept(id, is.caller, is.idempotency, tonumber(is.ended_at or ''))\n",
        tests="kept:what_is_wanted_of_an_end_counts_too",
    ),
    forgets(
        "replayed-job-counts-as-ended",
        "replay.lua",
        "count_kept(id, caller, idempotency)\n",
        tests="kept:replayed_job_goes_on_and_is_not_dropped",
    ),
    forgets(
        "replayed-job-stands-with-what-has-ended",
        "lib/kept.lua",
        "    redis.call('ZREM', set, id)\n",
        tests="kept:replayed_job_goes_on_and_is_not_dropped",
    ),
    forgets(
        "record-says-not-what-a-replayed-job-counts",
        "lib/kept.lua",
        "    redis.call('HSET', key.job(id), 'kept', units)\n",
        tests="kept:replayed_job_goes_on_and_is_not_dropped",
    ),
    forgets(
        "end-of-an-earlier-version-is-not-counted",
        "reconcile.lua",
        "      count_kept(id, is.caller, is.idempotency, tonumber(is.ended_at))\n",
        tests="kept:end_that_an_earlier_version_wrote_is_counted_by_the_next_pass",
    ),
    forgets(
        "sum-of-what-is-kept-does-not-grow",
        "lib/kept.lua",
        "caller, string.format('%.0f', units))",
        "caller, 0)",
        tests=_COUNTS,
    ),
    forgets(
        "what-has-gone-is-kept",
        "lib/kept.lua",
        "if redis.call('ZREM', key.kept(caller), entry) == 0 then return end",
        "if score == 0 then return end",
        tests=_COUNTS,
    ),
    forgets(
        "sum-of-nothing-is-kept",
        "lib/kept.lua",
        "  if sum <= 0 then redis.call('HDEL', key.kept_units, caller) end\n",
        tests=_COUNTS,
    ),
    forgets("dropped-job-stays-counted", "lib/drops.lua", "  forget_kept(caller, entry)\n", tests=_COUNTS),
    forgets(
        "dropped-job-still-expires",
        "lib/drops.lua",
        "  redis.call('ZREM', key.expiring, entry .. ' ' .. caller)\n",
        tests="lists:job_leaves_the_lists_when_its_record_expires",
    ),
    forgets(
        "dropped-job-is-on-the-list-of-all",
        "lib/drops.lua",
        "  redis.call('ZREM', key.jobs, entry)\n",
        tests="lists:job_leaves_the_lists_when_its_record_expires",
    ),
    forgets(
        "dropped-job-is-on-its-callers-list",
        "lib/drops.lua",
        "  redis.call('ZREM', key.jobs_of(caller), entry)\n",
        tests="lists:job_leaves_the_lists_when_its_record_expires",
    ),
    forgets(
        "dropped-job-has-a-record",
        "lib/drops.lua",
        "  redis.call('UNLINK', key.job(id), key.events(id))\n",
        tests=_TAKES,
    ),
    forgets(
        "dropped-job-has-an-idempotency-key",
        "lib/drops.lua",
        "  if is.idempotency then redis.call('UNLINK', is.idempotency) end\n",
        tests=_TAKES,
    ),
    forgets(
        "dropped-job-is-among-the-dead",
        "lib/drops.lua",
        "  redis.call('ZREM', key.dead, id)\n",
        tests="kept:dead_job_that_is_dropped_is_no_more_on_the_list_of_the_dead",
    ),
    forgets(
        "job-that-goes-on-is-dropped",
        "lib/drops.lua",
        "  if not is.ended_at then return false end\n",
        tests="kept:job_that_an_earlier_version_replayed_is_not_dropped",
    ),
    forgets(
        "end-of-a-dropped-job-is-to-be-told",
        "lib/drops.lua",
        "  if is.tell then drop_notices(id, is.tell) end\n",
        tests="kept:what_is_wanted_of_an_end_counts_too",
    ),
    forgets(
        "end-of-a-dropped-job-is-not-counted-as-given-up",
        "lib/drops.lua",
        "      redis.call('HINCRBY', key.notifications(protocol), 'given_up', 1)\n",
        tests="kept:what_is_wanted_of_an_end_counts_too",
    ),
    forgets(
        "dropped-batch-has-a-record",
        "lib/drops.lua",
        "  redis.call('UNLINK', unpack(batch_keys(batch)))\n",
        tests="kept:batches_without_jobs_make_room_for_each_other",
    ),
    forgets(
        "batch-that-goes-on-counts-as-ended",
        "lib/ends.lua",
        "  local caller = was_to_expire and count_batch(batch)\n",
        "  local caller = was_to_expire and redis.call('HGET', key.batch(batch), 'caller')\n",
        tests=_BATCH,
    ),
    forgets(
        "batch-that-goes-on-is-to-expire",
        "lib/ends.lua",
        "  if caller then redis.call('ZREM', key.expiring, batch_entry(batch) .. ' ' .. caller) end\n",
        tests=_BATCH,
    ),
    forgets(
        "ended-batch-is-not-to-expire",
        "lib/ends.lua",
        "  local caller = count_batch(batch, now())\n  if caller then",
        "  local caller = count_batch(batch, now())\n  if false then",
        tests=_BATCH,
    ),
    # Batches that are canceled.
    forgets(
        "canceled-batch-is-left-to-nobody",
        "cancel_batch.lua",
        "redis.call('ZADD', key.canceling, seconds(now()), batch)\n",
        tests="batches:large_batch_is_canceled_some_at_a_time_and_to_its_end",
    ),
    forgets(
        "canceled-batch-takes-more",
        "cancel_batch.lua",
        "redis.call('HSET', record, 'is_closed', 1)\n",
        tests="batches:canceled_batch_ends_its_jobs_and_takes_no_more",
    ),
    forgets(
        "cancel-of-a-batch-is-not-repeated-alike",
        "cancel_batch.lua",
        "if answered and answered.nonce == args.nonce then",
        "if false then",
        tests="batches:large_batch_is_canceled_some_at_a_time_and_to_its_end",
    ),
    forgets(
        "cancel-of-a-batch-begins-anew",
        "lib/ends.lua",
        "    redis.call('HSET', record, 'cancel_from', from + most)\n",
        tests="batches:large_batch_is_canceled_some_at_a_time_and_to_its_end",
    ),
    forgets(
        "canceled-batch-is-canceled-for-ever",
        "lib/ends.lua",
        "    redis.call('ZREM', key.canceling, batch)\n",
        tests="batches:large_batch_is_canceled_some_at_a_time_and_to_its_end",
    ),
    forgets(
        "where-a-cancel-stood-is-kept",
        "lib/ends.lua",
        "    redis.call('HDEL', record, 'cancel_from')\n",
        tests="batches:large_batch_is_canceled_some_at_a_time_and_to_its_end",
    ),
    forgets(
        "canceled-batches-of-all-come-in-one-line",
        "reconcile.lua",
        "math.max(1, math.floor(most / #batches)), released)",
        "_ == 1 and most or 1, released)",
        tests="batches:batches_that_are_canceled_have_a_part_of_each_pass",
    ),
    # Deadlines.
    forgets(
        "passed-deadlines-of-all-callers-come-in-one-line",
        "reconcile.lua",
        "  local done = some_of_each(key.deadline_callers, deadlines_of_one, most, expire)\n",
        "  local done = 0\n",
        tests="deadlines:deadline_is_noticed_within_two_passes_however_many_of_another_have_passed",
    ),
    forgets(
        "deadline-of-an-earlier-version-is-not-noticed",
        "reconcile.lua",
        "  local ids = done < most and due_in(key.deadlines, most - done) or {}\n",
        "  local ids = {}\n",
        tests="deadlines:deadline_that_an_earlier_version_noted_is_noticed",
    ),
    forgets(
        "deadline-that-was-is-believed",
        "reconcile.lua",
        "  if not is_past(is.start_by) and not is_past(is.end_by) then return note_deadline(id) end\n",
        tests="deadlines:job_that_an_earlier_version_replayed_has_its_new_deadline",
    ),
    forgets(
        "caller-with-more-deadlines-stays-in-front",
        "reconcile.lua",
        "      redis.call('ZADD', waiting_callers, seconds(math.max(tonumber(at), time)), caller)\n",
        tests="deadlines:caller_who_has_had_a_part_comes_again_behind_the_others",
    ),
    forgets(
        "caller-s-deadline-stays",
        "lib/turns.lua",
        "  redis.call('ZREM', key.deadlines_by(caller), id)\n",
        tests="deadlines:job_that_does_not_wait_any_more_has_no_deadline_to_look_for",
    ),
    forgets(
        "caller-s-deadline-is-not-noted",
        "lib/turns.lua",
        "  redis.call('ZADD', key.deadlines_by(is.caller), seconds(due), id)\n",
        tests="deadlines:job_that_does_not_wait_any_more_has_no_deadline_to_look_for",
    ),
    forgets(
        "caller-with-deadlines-is-not-noted",
        "lib/turns.lua",
        "  redis.call('ZADD', key.deadline_callers, 'LT', seconds(due), is.caller)\n",
        tests="deadlines:each_of_many_callers_with_backlogs_has_a_part",
    ),
)
