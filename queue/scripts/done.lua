-- DONE: leased -> an end (done, expired, cancelled). A batch.
-- KEYS  places, then the log keys
-- ARGV  1 log TTL s, 2 prefix of the parked keys, then for each job:
--       entry id, jid, index of its log key in KEYS (0: no record), field, state and record
-- Output how many entries were still pending
-- Crash before: the lease runs out and another worker does the job again (the
-- duplicate window). Crash after, reply lost: sent again it finds nothing.
-- Accepted from anyone: a success of a holder that lost its lease also ends
-- whatever a later holder made of the job (retry, parked, dead, running), and
-- what a failover that lost moves brought back: an older entry, also its first.
local eids, jids = {}, {}
for i = 3, #ARGV, 5 do
  eids[#eids + 1] = ARGV[i]
  jids[#jids + 1] = ARGV[i + 1]
end
check()
redis.call('XDEL', JOBS, unpack(eids)) -- before XACK: see drop
local n = redis.pcall('XACK', JOBS, GROUP, unpack(eids))
if type(n) ~= 'number' then n = 0 end
if n < #eids then
  redis.call('ZREM', DUE, unpack(jids))
  redis.call('ZREM', DEAD, unpack(jids))
  for i, jid in ipairs(jids) do
    for _, other in ipairs({redis.call('HGET', MOVED, jid) or jid, jid}) do
      if other ~= eids[i] then drop(other) end
    end
    local body = redis.call('HGET', BODY, jid)
    if body then
      local meta = cjson.decode(string.sub(body, 1, string.find(body, '\n', 1, true) - 1))
      if meta.s then
        local name = meta.s .. ':' .. string.format('%.0f', meta.v or 0)
        redis.call('ZREM', ARGV[2] .. name, jid)
        if redis.call('ZCARD', ARGV[2] .. name) == 0 then redis.call('HDEL', PARKS, name) end
      end
      redis.call('HDEL', BODY, jid)
    end
  end
end
for _, place in ipairs({MOVED, CANCEL, MARK}) do
  if redis.call('EXISTS', place) == 1 then redis.call('HDEL', place, unpack(jids)) end
end
local logs = {}
for i = 3, #ARGV, 5 do
  local key = tonumber(ARGV[i + 2])
  if key > 0 then
    local pairs = logs[key] or {}
    pairs[#pairs + 1] = ARGV[i + 3]
    pairs[#pairs + 1] = ARGV[i + 4]
    logs[key] = pairs
  end
end
for key, pairs in next, logs do
  redis.pcall('HSET', KEYS[key], unpack(pairs))
  redis.pcall('EXPIRE', KEYS[key], ARGV[1])
end
return n
