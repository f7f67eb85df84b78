#!lua flags=allow-oom
-- Open a batch, and note which of its lines were refused: a bit for each. It expires where it has no job that goes on.
local batch = args.batch_id
local record = key.batch(batch)
if redis.call('HSETNX', record, 'caller', args.caller) == 1 then
  redis.call('HSET', record, 'created_at', seconds(now()))
end
for _, line in ipairs(args.refused_lines) do redis.call('SETBIT', key.batch_refused(batch), line, 1) end
let_batch_expire(batch)
return 'done'
