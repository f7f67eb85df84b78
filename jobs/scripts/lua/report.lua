#!lua flags=allow-oom
-- What a worker says of itself, until it says so again; and how many jobs of its queues it takes at a time.
-- Without `report` only that: of a worker of the version before, which says the rest itself.
if args.report then
  redis.call('SET', key.worker(args.name), args.report, 'EX', args.expiry_s)
  redis.call('SADD', key.workers, args.name)
end
for at, queue in ipairs(args.queues) do note_slots(queue, args.name, args.slots[at], args.expiry_s) end
return 'done'
