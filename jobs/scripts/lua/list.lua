#!lua flags=allow-oom
-- Jobs of a caller, newest first, with a status and in a queue (each of them may be left out), from behind the number
-- `behind` ('+inf' for the newest). Looks at `most` entries, and takes those off the lists whose records have expired.
-- Ends where the records of what it found have `most_bytes`, too: what a page takes is bounded, however long prompts are.
-- Answers ids, the number to go on behind ('' at the end), and how many bytes these records have.
local list = args.caller and key.jobs_of(args.caller) or key.jobs
local ids, bytes = {}, 0
local from = args.behind == '+inf' and args.behind or '(' .. args.behind
local found = redis.call('ZREVRANGEBYSCORE', list, from, '-inf', 'WITHSCORES', 'LIMIT', 0, args.most)
for at = 1, #found, 2 do
  local id, number = found[at], found[at + 1]
  local is, stands_in = unpack(redis.call('HMGET', key.job(id), 'status', 'queue'))
  if not is then
    redis.call('ZREM', list, id)
  elseif (not args.status or is == args.status) and (not args.queue or stands_in == args.queue) then
    ids[#ids + 1] = id
    for _, value in ipairs(redis.call('HMGET', key.job(id), 'spec', 'request', 'images', 'error', 'data')) do
      bytes = bytes + (value and #value or 0)
    end
    if #ids == args.limit or bytes >= args.most_bytes then return {ids, number, bytes} end
  end
end
return {ids, #found == 2 * args.most and found[#found] or '', bytes}
