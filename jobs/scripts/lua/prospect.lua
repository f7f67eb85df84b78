#!lua flags=no-writes
-- About how many jobs of a queue, of all callers, would be taken before one that this caller submitted now, and the
-- queue's pace; as `place` reckons for one that is there.
local queue, caller = args.queue, args.caller
local slots = string.match(redis.call('GET', key.state(queue)) or '', '^%d+')
local most = math.max(args.window, 2 * tonumber(slots or 0))
local line = redis.call('ZCARD', key.line(queue))
local at = line < most and not is_anybody_waiting(queue) and line
return with_pace(queue, jobs_before(queue, caller, ranked(PRIORITY_RANK[args.priority], RANK - 1), at))
