#!lua flags=no-writes
-- Returns the server's time and all epochs as one text, separated by spaces: seconds, microseconds, then name and epoch
-- of each scope. One text and not an array: its size is known before its first byte is kept.
-- KEYS[1] the hash of epochs.
local time = redis.call('TIME')
local epochs = redis.call('HGETALL', KEYS[1])
return table.concat(time, ' ') .. ' ' .. table.concat(epochs, ' ')
