-- CANCEL: ready, delayed or parked -> cancelled; a running job is marked so
-- that it is not tried again.
-- KEYS  places, 10 the log key
-- ARGV  1 jid, 2 prefix of the parked keys, 3 log TTL s (0: no record), 4 record
-- Output 'cancelled', 'running' (marked), 'dead' (left alone) or '' (in no place)
-- Crash before: nothing happened. Crash after, reply lost: sent again it
-- answers '', and the record says cancelled.
check()
local jid = ARGV[1]
local function finish(n)
  forget(jid)
  if ARGV[3] ~= '0' then
    log(KEYS[10], jid .. '/' .. string.format('%.0f', n or 1), 'cancelled', ARGV[4], ARGV[3])
  end
  return 'cancelled'
end
for _, eid in ipairs({redis.call('HGET', MOVED, jid) or jid, jid}) do
  local e = redis.call('XRANGE', JOBS, eid, eid)
  if #e > 0 then
    local p = redis.pcall('XPENDING', JOBS, GROUP, eid, eid, 1)
    if not p.err and #p > 0 then
      redis.call('HSET', CANCEL, jid, now())
      return 'running'
    end
    local n = 1
    if e[1][2][1] == 'meta' then
      local good, m = pcall(cjson.decode, e[1][2][2])
      if good and type(m) == 'table' then n = m.n end
    end
    redis.call('XDEL', JOBS, eid)
    return finish(n)
  end
end
local body = redis.call('HGET', BODY, jid)
if not body then return '' end
if redis.call('ZSCORE', DEAD, jid) then return 'dead' end
local meta = cjson.decode(string.sub(body, 1, string.find(body, '\n', 1, true) - 1))
redis.call('ZREM', DUE, jid)
if meta.s then
  local name = meta.s .. ':' .. string.format('%.0f', meta.v or 0) .. (meta.b or '')
  redis.call('ZREM', ARGV[2] .. name, jid)
  if redis.call('ZCARD', ARGV[2] .. name) == 0 then redis.call('HDEL', PARKS, name) end
end
redis.call('HDEL', BODY, jid)
return finish(meta.n)
