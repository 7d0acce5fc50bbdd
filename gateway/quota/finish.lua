-- What is over, and what goes on: slots freed, reservations settled or refunded, leases renewed. All idempotent.
--   KEYS  state hash, slots, records of reservations to settle..., records to refund...
--   ARGV  echo, time ("" for the server's), lease, lifetime of a refund's record in ms, how many slots to free, how many to
--         take, how many reservations to settle, then the slots to free..., to take..., to renew...
--   gives echo, time

local now = clock(ARGV[2], redis.call("HGET", KEYS[1], "last"))
local freed, taken, settled = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
for i = 8, 7 + freed do redis.call("ZREM", KEYS[2], ARGV[i]) end
local lease = whole(now + tonumber(ARGV[3]))
for i = 8 + freed, 7 + freed + taken do redis.call("ZADD", KEYS[2], lease, ARGV[i]) end
-- A renewal that comes late, over a connection that was given up, must not bring back a slot that was freed.
for i = 8 + freed + taken, #ARGV do redis.call("ZADD", KEYS[2], "XX", lease, ARGV[i]) end
if #ARGV > 7 + freed then
  redis.call("HSET", KEYS[1], "last", whole(now))
  redis.call("PEXPIRE", KEYS[1], KEEP_MS)
  redis.call("PEXPIRE", KEYS[2], KEEP_MS)
end

for i = 3, 2 + settled do
  local record = redis.call("GET", KEYS[i])
  if record and string.sub(record, 1, 7) == "charged" then redis.call("SET", KEYS[i], "settled", "PX", 60000) end
end

for i = 3 + settled, #KEYS do
  local record = redis.call("GET", KEYS[i])
  if record ~= "settled" and record ~= "refunded" then
    if record and string.sub(record, 1, 7) == "charged" then
      for name, stop in string.gmatch(record, " (%a+) (%d+)") do
        local stored = redis.call("HMGET", KEYS[1], name, name .. ":end")
        -- Only the window that was charged: one that began since owes nothing.
        if stored[2] == stop and tonumber(stored[1]) > 0 then redis.call("HINCRBY", KEYS[1], name, -1) end
      end
    end
    -- Also for an unknown reservation: its question may still be on the way, and must charge nothing then.
    redis.call("SET", KEYS[i], "refunded", "PX", ARGV[4])
  end
end
return {ARGV[1], now}
