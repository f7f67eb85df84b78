#!lua flags=allow-oom
-- The messages of these jobs were sent again though they may stand in a list that is too long to be read. Each is looked for
-- again after twice the time of the last one: else messages would gather where nobody takes them.
-- Repeating it changes nothing.
for _, id in ipairs(args.job_ids) do
  local is = look_up(id, {'queue', 'deliveries'})
  local look_at = is.queue and redis.call('ZSCORE', key.released(is.queue), id)
  local after_s = tonumber(is.deliveries or 0) > 0 and args.look_lost_s or args.look_again_s
  if look_at and tonumber(look_at) <= now() + after_s then
    local guesses = redis.call('HINCRBY', key.job(id), 'guesses', 1)
    redis.call('ZADD', key.released(is.queue), seconds(now() + after_s * 2 ^ math.min(guesses, 30)), id)
  end
end
return 'done'
