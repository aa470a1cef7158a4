-- AUDIT: one process at a time checks the queue. Moves no job.
-- KEYS  places of no partition: 1 the hash of the audit
-- ARGV  1 "begin", 2 me, 3 lease ms, 4 ms between two passes
--       1 "renew", 2 me, 3 lease ms
--       1 "end", 2 me, 3 what was found, as JSON
--       1 "free", 2 me
-- Output 1, or 0 if it is not due, or somebody else's turn
-- Crash at any point: the lease runs out, and a later begin starts a pass of its
-- own. A pass only reads, so two at once would only cost twice.
local key, op, me = KEYS[1], ARGV[1], ARGV[2]
local t = now()
local holder = redis.call('HGET', key, 'holder')
local held = holder and t < tonumber(redis.call('HGET', key, 'until') or '0')
if op == 'begin' then
  if held or t < tonumber(redis.call('HGET', key, 'at') or '0') + tonumber(ARGV[4]) then return 0 end
  redis.call('HSET', key, 'holder', me, 'until', string.format('%.0f', t + ARGV[3]))
  return 1
end
if holder ~= me then return 0 end
if op == 'renew' then
  redis.call('HSET', key, 'until', string.format('%.0f', t + ARGV[3]))
  return 1
end
if op == 'end' then redis.call('HSET', key, 'at', string.format('%.0f', t), 'found', ARGV[3]) end
redis.call('HDEL', key, 'holder', 'until')
return 1
