#!lua flags=allow-oom
-- Note where a running job is. Answers whether it should go on: 'go', 'cancel', 'expired', or 'fenced'.
-- Entering `encode` charges the attempt, once for each claim.
local id, token, stage, step, steps = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local job = key('job', id)

if field(id, 'status') ~= 'processing' or field(id, 'token') ~= token then return 'fenced' end
if stage == 'encode' and redis.call('HSETNX', job, 'charge:' .. token, 1) == 1 then
  redis.call('HINCRBY', job, 'attempts', 1)
end
redis.call('HSET', job, 'stage', stage, 'step', step, 'steps', steps)
announce(id, 'progress', {stage = stage, step = tonumber(step), steps = tonumber(steps)})
if field(id, 'cancel') then return 'cancel' end
if is_past(field(id, 'end_by')) then return 'expired' end
return 'go'
