-- DONE: leased -> an end (done, expired, cancelled). A batch.
-- KEYS  places, then the log keys
-- ARGV  1 log TTL s, 2 prefix of the parked keys, 3 jobs, 4 whether jids follow (0: each
--       job's jid is its entry id), then the entry ids, the jids, and for each log key:
--       its index in KEYS, its records, and for each of these a field, and state and record
-- Output how many entries were still pending
-- Crash before: the lease runs out and another worker does the job again (the
-- duplicate window). Crash after, reply lost: sent again it finds nothing.
-- Accepted from anyone: a success of a holder that lost its lease also ends
-- whatever a later holder made of the job (retry, parked, dead, running), and
-- what a failover that lost moves brought back: an older entry, also its first.
-- Ranges of ARGV are handed on as they are: a table made of them for each job
-- would cost as much as the deletions.
local count = tonumber(ARGV[3])
local first, last = 5, 4 + count
local from = ARGV[4] == '1' and last or first - 1 -- before the jids
local logs = from + count + 1
check()
redis.call('XDEL', JOBS, unpack(ARGV, first, last)) -- before XACK: see drop
local n = redis.pcall('XACK', JOBS, GROUP, unpack(ARGV, first, last))
if type(n) ~= 'number' then n = 0 end
if n < count then
  redis.call('ZREM', DUE, unpack(ARGV, from + 1, from + count))
  redis.call('ZREM', DEAD, unpack(ARGV, from + 1, from + count))
  for i = 1, count do
    local eid, jid = ARGV[first + i - 1], ARGV[from + i]
    for _, other in ipairs({redis.call('HGET', MOVED, jid) or jid, jid}) do
      if other ~= eid then drop(other) end
    end
    local body = redis.call('HGET', BODY, jid)
    if body then
      local meta = cjson.decode(string.sub(body, 1, string.find(body, '\n', 1, true) - 1))
      if meta.s then
        local name = meta.s .. ':' .. string.format('%.0f', meta.v or 0) .. (meta.b or '')
        redis.call('ZREM', ARGV[2] .. name, jid)
        if redis.call('ZCARD', ARGV[2] .. name) == 0 then redis.call('HDEL', PARKS, name) end
      end
      redis.call('HDEL', BODY, jid)
    end
  end
end
for _, place in ipairs({MOVED, CANCEL, MARK}) do
  if redis.call('EXISTS', place) == 1 then redis.call('HDEL', place, unpack(ARGV, from + 1, from + count)) end
end
while logs <= #ARGV do
  local key, stop = KEYS[tonumber(ARGV[logs])], logs + 1 + 2 * tonumber(ARGV[logs + 1])
  redis.pcall('HSET', key, unpack(ARGV, logs + 2, stop))
  redis.pcall('EXPIRE', key, ARGV[1])
  logs = stop + 1
end
return n
