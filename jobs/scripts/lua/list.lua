#!lua flags=allow-oom
-- Jobs of a caller, newest first, with a status and in a queue (each of them may be left out), from behind the number
-- `behind` ('+inf' for the newest). Looks at `most` entries, and takes those off the lists whose records have expired.
-- Answers ids, and the number to go on behind; '' at the end.
local list = args.caller and key.jobs_of(args.caller) or key.jobs
local ids = {}
local from = args.behind == '+inf' and args.behind or '(' .. args.behind
local found = redis.call('ZREVRANGEBYSCORE', list, from, '-inf', 'WITHSCORES', 'LIMIT', 0, args.most)
for at = 1, #found, 2 do
  local id, number = found[at], found[at + 1]
  local is, stands_in = unpack(redis.call('HMGET', key.job(id), 'status', 'queue'))
  if not is then
    redis.call('ZREM', list, id)
  elseif (not args.status or is == args.status) and (not args.queue or stands_in == args.queue) then
    ids[#ids + 1] = id
    if #ids == args.limit then return {ids, number} end
  end
end
return {ids, #found == 2 * args.most and found[#found] or ''}
