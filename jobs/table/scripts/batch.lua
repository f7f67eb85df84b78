#!lua flags=allow-oom
-- Open a batch, and note which of its lines were refused: a bit for each. It expires where it has no job that goes on.
local batch, caller, retention = ARGV[1], ARGV[2], ARGV[3]
local record = key('batch', batch)
if redis.call('HSETNX', record, 'caller', caller) == 1 then redis.call('HSET', record, 'created_at', seconds(now())) end
for at = 4, #ARGV do redis.call('SETBIT', key('batch_refused', batch), ARGV[at], 1) end
let_batch_expire(batch, retention)
return 'done'
