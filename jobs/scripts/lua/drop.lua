#!lua flags=allow-oom
-- Drops jobs that have ended, of a caller or of all, the first submitted first, from behind the number `behind`: those
-- with one of these statuses, that ended before a moment (each of them may be left out). Looks at `most` entries.
-- Answers how many it dropped, and the number to go on behind; '' at the end.
-- Repeating it drops no others, and does not count again those that are gone.
local list = args.caller and key.jobs_of(args.caller) or key.jobs
local found = redis.call('ZRANGEBYSCORE', list, '(' .. args.behind, '+inf', 'WITHSCORES', 'LIMIT', 0, args.most)
local wanted = {}
for _, status in ipairs(args.statuses or {}) do wanted[status] = true end
local dropped = 0
for at = 1, #found, 2 do
  local status, ended_at = unpack(redis.call('HMGET', key.job(found[at]), 'status', 'ended_at'))
  local is_wanted = ended_at and (not args.statuses or wanted[status])
  if is_wanted and (not args.ended_before or tonumber(ended_at) < args.ended_before) and drop_job(found[at]) then
    dropped = dropped + 1
  end
end
return {dropped, #found == 2 * args.most and found[#found] or ''}
