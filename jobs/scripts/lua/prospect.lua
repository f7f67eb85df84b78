#!lua flags=no-writes
-- About how many jobs of a queue, of all callers, would be taken before one that this caller submitted now, and the
-- queue's pace; as `place` reckons for one that is there.
local queue, caller = args.queue, args.caller
local is_room = redis.call('ZCARD', key.waiting(queue, caller)) == 0
  and redis.call('ZCARD', key.turns(queue, caller)) < args.window
local at = is_room and redis.call('ZCARD', key.line(queue))
return with_pace(queue, jobs_before(queue, caller, ranked(PRIORITY_RANK[args.priority], RANK - 1), at))
