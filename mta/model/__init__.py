"""The words of the house: ids, structs, enums, exceptions and settings; no I/O, no clock."""
