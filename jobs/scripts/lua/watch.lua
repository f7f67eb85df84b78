#!lua flags=allow-oom
-- Somebody reads these jobs: for `watch_s` from now on, what they do is told as it happens. Whoever runs one hears of it.
-- Of one that nobody read there may be no event of where it is: there is one then, of what its record says.
-- Repeating it tells nothing again.
for _, id in ipairs(args.job_ids) do
  local status = field(id, 'status')
  if status == 'queued' or status == 'processing' then
    local owner, unseen = field(id, 'owner'), field(id, 'unseen')
    redis.call('HSET', key.job(id), 'watched', seconds(now() + args.watch_s), 'unseen', 0)
    if status == 'processing' and owner then
      if unseen == '1' and field(id, 'stage') then
        announce(id, 'progress', {stage = field(id, 'stage'), step = tonumber(field(id, 'step')),
          steps = tonumber(field(id, 'steps'))})
      end
      redis.call('PUBLISH', channel.watched(owner), id)
    end
  end
end
return 'done'
