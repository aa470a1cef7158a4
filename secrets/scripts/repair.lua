-- repair: take what an operator accepts as the set of secrets.
-- KEYS 1 names (zset), 2 manifest:secrets (hash), 3 rev (string), 4 audit (stream),
--      5.. s:<id>, s:<id>:old and s:<id>:staged of the records to remove
-- ARGV 1 manifest version seen ('' if none), 2 manifest version, 3 manifest seal, 4 rev,
--      5 how many members follow, 6.. members of names, audit length, audit fields
-- Output 1 done, 0 somebody else wrote in between and nothing was changed.
-- The loops are bounded by what the caller passes: one step for each secret.
-- Crash: before it nothing is changed; after it all is.
if (redis.call('HGET', KEYS[2], 'v') or '') ~= ARGV[1] then
  return 0
end
for i = 5, #KEYS do
  redis.call('DEL', KEYS[i])
end
redis.call('DEL', KEYS[1])
local n = tonumber(ARGV[5])
for i = 6, 5 + n do
  redis.call('ZADD', KEYS[1], 0, ARGV[i])
end
redis.call('HSET', KEYS[2], 'v', ARGV[2], 'seal', ARGV[3])
redis.call('SET', KEYS[3], ARGV[4])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[6 + n], '*', unpack(ARGV, 7 + n))
return 1
