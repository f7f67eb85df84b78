#!lua flags=allow-oom
-- Jobs of a caller ('' for all), newest first, with a status and in a queue ('' for any), from behind the number `behind`
-- ('+inf' for the newest). Looks at so many entries at most, and takes those off the lists whose records have expired.
-- Answers ids, and the number to go on behind; '' at the end.
local caller, status, queue, behind = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local limit, most = tonumber(ARGV[5]), tonumber(ARGV[6])
local list = caller == '' and key('jobs') or key('jobs', caller)
local ids = {}
local from = behind == '+inf' and behind or '(' .. behind
local found = redis.call('ZREVRANGEBYSCORE', list, from, '-inf', 'WITHSCORES', 'LIMIT', 0, most)
for at = 1, #found, 2 do
  local id, number = found[at], found[at + 1]
  local is, stands_in = unpack(redis.call('HMGET', key('job', id), 'status', 'queue'))
  if not is then
    redis.call('ZREM', list, id)
  elseif (status == '' or is == status) and (queue == '' or stands_in == queue) then
    ids[#ids + 1] = id
    if #ids == limit then return {ids, number} end
  end
end
return {ids, #found == 2 * most and found[#found] or ''}
