"""What it is worth: tariffs, bills, and two days compared without flattery.

``tariffs`` is the built-in table by customer class, ``prices`` one tariff over a time grid,
``bill`` what the sites of a class pay, ``worth`` what a managed day gained over an unmanaged one
once energy still in store and energy still owed to vehicles are priced. Money is positive where
the customer pays.
"""

from gridflock.market._bill import Bill, bill
from gridflock.market._tariff import Tariff, prices, tariffs
from gridflock.market._worth import DayAccount, Worth, worth

__all__ = ["Bill", "DayAccount", "Tariff", "Worth", "bill", "prices", "tariffs", "worth"]
