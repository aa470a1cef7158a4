-- delete: remove a secret with its version before and the staged one.
-- KEYS 1 s:<id> (hash), 2 s:<id>:old (hash), 3 names (zset), 4 manifest:secrets (hash), 5 rev (string), 6 audit (stream),
--      7 changed (zset), 8 s:<id>:staged (hash)
-- ARGV 1 manifest version seen, 2 mac of the record seen, 3 member of names,
--      4 manifest version, 5 manifest seal, 6 rev, 7 audit length, 8.. audit fields
-- Output 1 removed, 0 somebody else wrote in between and nothing was changed.
-- The audit entry is first: if it cannot be written, Redis ends the script there.
-- Crash: before it nothing is changed; after it all is.
if (redis.call('HGET', KEYS[4], 'v') or '') ~= ARGV[1] then
  return 0
end
if (redis.call('HGET', KEYS[1], 'mac') or '') ~= ARGV[2] then
  return 0
end
redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[7], '*', unpack(ARGV, 8))
redis.call('DEL', KEYS[1], KEYS[2], KEYS[8])
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('HSET', KEYS[4], 'v', ARGV[4], 'seal', ARGV[5])
redis.call('ZADD', KEYS[7], ARGV[4], string.sub(ARGV[3], -24))
redis.call('ZREMRANGEBYRANK', KEYS[7], 0, -4097)
redis.call('SET', KEYS[5], ARGV[6])
return 1
