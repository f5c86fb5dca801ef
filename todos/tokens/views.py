"""/api/token/, /api/token/refresh/ and the public keys."""

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge_api.contract.tokens import as_jwk
from todos.tokens import docs
from todos.tokens.authentication import CHALLENGE
from todos.tokens.issue import ACCESS_LIFETIME, Pair, RefreshRefused, refresh, sign_in
from todos.tokens.keys import NoKey, known_keys
from todos.tokens.serializers import Credentials, OldToken

JWKS_SECONDS = 5  # as often as an edge asks


class Unsigned(APIException):
    status_code = 503
    wait = 60  # seconds
    default_detail = "No token can be signed at the moment: an operator has to make a key."


class _TokenView(APIView):
    authentication_classes = []
    permission_classes = []

    def get_authenticate_header(self, request: Request) -> str:
        return CHALLENGE  # 401, not 403

    def answer(self, pair: Pair) -> Response:
        body = {**pair._asdict(), "token_type": "Bearer", "expires_in": int(ACCESS_LIFETIME.total_seconds())}
        return Response(body, headers={"Cache-Control": "no-store"})


class TokenView(_TokenView):
    """Sign in with a name and a password: a token for ten minutes, and one to get the next with."""

    @docs.signed_in
    def post(self, request: Request) -> Response:
        asked = Credentials(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        user = authenticate(request._request, username=told["username"], password=told["password"])
        if not isinstance(user, User):
            raise AuthenticationFailed("No active user has this name and password.")
        try:
            return self.answer(sign_in(user, told["scope"].split()))
        except NoKey as exc:
            raise Unsigned from exc


class RefreshView(_TokenView):
    """The next pair of tokens. A refresh token that is used twice ends all that came from its sign-in."""

    @docs.refreshed
    def post(self, request: Request) -> Response:
        asked = OldToken(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            return self.answer(refresh(asked.validated_data["refresh"]))
        except RefreshRefused:
            raise AuthenticationFailed("The refresh token is unknown, used or out of date: sign in again.") from None
        except NoKey as exc:
            raise Unsigned from exc


@csrf_exempt  # so that a POST is told which methods there are
@require_safe
@cache_control(public=True, max_age=JWKS_SECONDS)
def jwks(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"keys": [as_jwk(kid, key) for kid, key in known_keys().items()]})
