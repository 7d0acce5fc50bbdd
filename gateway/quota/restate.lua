-- A replica says what it knows, to a store that may have lost its memory: its slots, and the highest counts it has seen.
--   KEYS  state hash, slots
--   ARGV  echo, time ("" for the server's), known birth, birth to give, lease, how many counts, then window, count and
--         end of each, then slots...
--   gives echo, birth

local state = redis.call("HMGET", KEYS[1], "born", "last")
local born = state[1] or ARGV[4]
local now = clock(ARGV[2], state[2])
redis.call("HSET", KEYS[1], "born", born, "last", whole(now))
local first_slot = 7 + 3 * tonumber(ARGV[6])
-- A state that lost nothing knows better: others have had refunds since. In one that did, `<window>:base` is the highest
-- count from before the loss; what was charged since comes on top, so that no replica's word hides another's charges.
for i = 7, born == ARGV[3] and 0 or first_slot - 1, 3 do
  local name, seen, stop = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local stored = redis.call("HMGET", KEYS[1], name, name .. ":end", name .. ":base")
  local count, current = counted(stored[1], stored[2], name, now)
  local base_stop, base = string.match(stored[3] or "", "^(%d+) (%d+)$")
  base = tonumber(base_stop) == current and tonumber(base) or 0
  if stop >= current and seen > base then
    redis.call("HSET", KEYS[1], name, whole(count + seen - base), name .. ":end", whole(current))
    redis.call("HSET", KEYS[1], name .. ":base", whole(current) .. " " .. whole(seen))
  end
end
redis.call("PEXPIRE", KEYS[1], KEEP_MS)
for i = first_slot, #ARGV do redis.call("ZADD", KEYS[2], whole(now + tonumber(ARGV[5])), ARGV[i]) end
if #ARGV >= first_slot then redis.call("PEXPIRE", KEYS[2], KEEP_MS) end
return {ARGV[1], born}
