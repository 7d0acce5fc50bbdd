-- Writes back what was admitted without the store: each reservation once, whatever the limits. See QuotaStore.charge.
--   KEYS  state hash, records of the reservations...
--   ARGV  echo, time ("" for the server's), lifetime of a record in ms, then for each record "<window> <end> ..."
--   gives echo, time

local now = clock(ARGV[2], redis.call("HGET", KEYS[1], "last"))
redis.call("HSET", KEYS[1], "last", whole(now))
redis.call("PEXPIRE", KEYS[1], KEEP_MS)
local windows = {}
for i = 2, #KEYS do
  local record = redis.call("GET", KEYS[i])
  if not record or string.sub(record, 1, 7) == "refused" then
    local charged = {"charged"}
    for name, stop in string.gmatch(ARGV[i + 2], "(%a+) (%d+)") do
      local window = windows[name]
      if not window then
        local stored = redis.call("HMGET", KEYS[1], name, name .. ":end")
        local count, current = counted(stored[1], stored[2], name, now)
        window = {count = count, stop = current}
        windows[name] = window
      end
      -- What was spent in a window that is over is no debt of this one; a later end is a replica's fast clock.
      if tonumber(stop) >= window.stop then
        window.count = window.count + 1
        charged[#charged + 1] = name
        charged[#charged + 1] = whole(window.stop)
      end
    end
    redis.call("SET", KEYS[i], table.concat(charged, " "), "PX", ARGV[3])
  end
end
for name, window in pairs(windows) do
  redis.call("HSET", KEYS[1], name, whole(window.count), name .. ":end", whole(window.stop))
end
return {ARGV[1], now}
