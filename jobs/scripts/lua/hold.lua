#!lua flags=allow-oom
-- Has messages stay with whoever has them in hand, for another `hold_s`.
-- Repeating it changes little.
for _, tag in ipairs(args.tags) do redis.call('ZADD', key.held_until, 'XX', seconds(now() + args.hold_s), tag) end
return 1
