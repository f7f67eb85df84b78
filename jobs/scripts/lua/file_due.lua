#!lua flags=allow-oom
-- Have files go that have expired and that no job needs. Looks at `most` of them. Answers how many there were to look at,
-- and ids and records, in turn: of these, and of those whose objects are not known to be gone. Repeating it, where there
-- are any, gives the same ones.
local due = {}
local found = redis.call('ZRANGEBYSCORE', key.file_expiry, '-inf', seconds(now()), 'LIMIT', 0, args.most)
for _, id in ipairs(found) do
  local record = redis.call('HGETALL', key.file(id))
  local is = by_name(record)
  local needed = is.caller and not is.going and is_file_needed(id) or 'no'
  if not is.caller then
    redis.call('ZREM', key.file_expiry, id)
  elseif needed == 'no' then
    if not is.going then let_file_go(id, is, args.token) end
    due[#due + 1], due[#due + 2] = id, record
  elseif needed == 'yes' then
    redis.call('ZADD', key.file_expiry, seconds(now() + FILE_LOOK_AGAIN_S), id)
  end
end
return {#found, due}
