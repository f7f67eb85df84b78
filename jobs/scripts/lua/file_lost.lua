#!lua flags=allow-oom
-- Uploads that have begun and never ended, `most` of them. One that has a record by now has ended, whatever else is said.
local lost = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key.files_begun, '-inf', seconds(now()), 'LIMIT', 0, args.most)) do
  if redis.call('EXISTS', key.file(id)) == 1 then
    redis.call('ZREM', key.files_begun, id)
  else
    lost[#lost + 1] = id
  end
end
return lost
