#!lua flags=allow-oom
-- Jobs that have ended and whose results are not deleted, of a caller or of all, the first submitted first, from behind
-- the number `behind`: those with one of these statuses, that ended before a moment (each of them may be left out). Looks
-- at `most` entries. Answers ids, and the number to go on behind; '' at the end.
local list = args.caller and key.jobs_of(args.caller) or key.jobs
local found = redis.call('ZRANGEBYSCORE', list, '(' .. args.behind, '+inf', 'WITHSCORES', 'LIMIT', 0, args.most)
local wanted, ids = {}, {}
for _, status in ipairs(args.statuses or {}) do wanted[status] = true end
for at = 1, #found, 2 do
  local status, ended_at, deletion = unpack(redis.call('HMGET', key.job(found[at]), 'status', 'ended_at', 'deletion'))
  local is_wanted = ended_at and not deletion and (not args.statuses or wanted[status])
  if is_wanted and (not args.ended_before or tonumber(ended_at) < args.ended_before) then ids[#ids + 1] = found[at] end
end
return {ids, #found == 2 * args.most and found[#found] or ''}
