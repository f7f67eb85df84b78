#!lua flags=allow-oom
-- Has messages handed out again, after `pause_s`, that somebody has in hand and can make nothing of now. He lives, so they
-- did him no harm.
-- Repeating it changes little.
for _, tag in ipairs(args.tags) do
  redis.call('ZADD', key.held_until, 'XX', seconds(now() + args.pause_s), tag)
  redis.call('DEL', key.takings(tag))
end
return 1
